#include "load/safetensors.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <optional>
#include <utility>

#include "base/checked.h"
#include "base/utf8.h"
#include "load/byte_reader.h"
#include "load/json_events.h"

namespace farthing {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr StoredType kTypes[] = {
    {"BOOL", 8},    {"U8", 8},   {"I8", 8},   {"I16", 16},    {"U16", 16},    {"I32", 32},
    {"U32", 32},    {"I64", 64}, {"U64", 64}, {"F16", 16},    {"BF16", 16},   {"F32", 32},
    {"F64", 64},    {"C64", 64}, {"F4", 4},   {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F8_E4M3", 8},
    {"F8_E5M2", 8}, {"F8_E8M0", 8},
};

// What the header says of one tensor, while it is read.
struct Entry {
  std::string name;
  const StoredType* type = nullptr;
  std::array<int64_t, kMaxStoredDims> shape{};
  size_t n_dims = 0;
  int n_shapes = 0;
  std::array<uint64_t, 2> range{};
  size_t n_range = 0;
};

class HeaderReader {
 public:
  HeaderReader(std::span<const std::byte> data, Allowance& allowance)
      : data_(data), allowance_(allowance) {}

  Status scalar(JsonPath path, const std::optional<MetaValue>& value) {
    if (path.front().key == kMetadata) return {};
    if (auto ok = field(path, value); !ok) {
      return std::move(ok).error().in(where(path.front().key));
    }
    return {};
  }

  Status ended(JsonPath path) {
    if (path.front().key == kMetadata) return {};
    if (path.size() == 2 && path[1].key == "shape") ++entry_.n_shapes;
    if (path.size() != 1) return {};
    if (auto ok = finish(path.front().key); !ok) {
      return std::move(ok).error().in(where(path.front().key));
    }
    return {};
  }

  std::vector<StoredTensor> tensors;

 private:
  static constexpr std::string_view kMetadata = "__metadata__";

  static std::string where(std::string_view name) {
    return fmt::format("tensor '{}'", printable(name));
  }

  Status field(JsonPath path, const std::optional<MetaValue>& value) {
    if (path.size() == 1) return bad_input("must be an object of dtype, shape and data_offsets");
    const std::string& key = path[1].key;
    if (key == "dtype" && path.size() == 2) return dtype(value);
    if (key == "shape") return dimension(path, value);
    if (key == "data_offsets") return offset(path, value);
    return bad_input("'{}' is none of dtype, shape and data_offsets", printable(key));
  }

  Status dtype(const std::optional<MetaValue>& value) {
    const auto* name = value ? std::get_if<std::string>(&*value) : nullptr;
    if (name == nullptr) return bad_input("dtype must be a string");
    const auto* type = std::ranges::find(kTypes, *name, &StoredType::name);
    if (type == std::end(kTypes)) {
      return bad_input("dtype '{}' is none of this format's", printable(*name));
    }
    entry_.type = type;
    return {};
  }

  // An element of the list `path[1]`, which is at most 2^63 - 1.
  static Result<uint64_t> element(JsonPath path, const std::optional<MetaValue>& value) {
    const auto* n = value ? std::get_if<uint64_t>(&*value) : nullptr;
    if (path.size() != 3 || !path[2].index || n == nullptr ||
        *n > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return bad_input("{} must be a list of numbers from 0 to 2^63 - 1", path[1].key);
    }
    return *n;
  }

  Status dimension(JsonPath path, const std::optional<MetaValue>& value) {
    FARTHING_TRY(const uint64_t n, element(path, value));
    if (entry_.n_dims == kMaxStoredDims) {
      return bad_input("more than {} dimensions", kMaxStoredDims);
    }
    entry_.shape[entry_.n_dims++] = static_cast<int64_t>(n);
    return {};
  }

  Status offset(JsonPath path, const std::optional<MetaValue>& value) {
    FARTHING_TRY(const uint64_t n, element(path, value));
    if (entry_.n_range == 2) return bad_input("data_offsets has more than two numbers");
    entry_.range[entry_.n_range++] = n;
    return {};
  }

  Status finish(const std::string& name) {
    const Entry entry = std::exchange(entry_, {});
    if (name.empty() || name.size() > kMaxStoredName) {
      return bad_input("a name of {} bytes, 1 to {} are allowed", name.size(), kMaxStoredName);
    }
    if (entry.type == nullptr) return bad_input("dtype is missing");
    if (entry.n_shapes != 1) return bad_input("must have one shape, a list");
    if (entry.n_range != 2) return bad_input("data_offsets must be two numbers");
    if (tensors.size() == kMaxTensors) return bad_input("more than {} tensors", kMaxTensors);
    FARTHING_TRY(const uint64_t bytes, bytes_of(entry));
    const auto [begin, end] = entry.range;
    if (begin > end || end - begin != bytes) {
      return bad_input("data_offsets [{}, {}] are no range of the {} bytes that its shape asks for",
                       begin,
                       end,
                       bytes);
    }
    if (end > data_.size()) {
      return bad_input(
          "data_offsets [{}, {}] reach beyond the {} bytes of data: truncated download?",
          begin,
          end,
          data_.size());
    }
    // Two entries of an index beside it (sorted names and ranges).
    FARTHING_TRY_VOID(allowance_.take(sizeof(StoredTensor) + Allowance::string_cost(name.size()) +
                                      4 * sizeof(uint32_t)));
    tensors.push_back({name, entry.type, entry.shape, entry.n_dims, data_.subspan(begin, bytes)});
    return {};
  }

  static Result<uint64_t> bytes_of(const Entry& entry) {
    std::optional<uint64_t> bits = static_cast<uint64_t>(entry.type->bits);
    for (size_t d = 0; d < entry.n_dims && bits; ++d) {
      bits = checked_mul(*bits, static_cast<uint64_t>(entry.shape[d]));
    }
    // A dimension of 0 hides the size of those before it, and no later product may overflow.
    std::optional<uint64_t> values = uint64_t{1};
    for (size_t d = 0; d < entry.n_dims && values; ++d) {
      values = checked_mul(*values, static_cast<uint64_t>(std::max<int64_t>(1, entry.shape[d])));
    }
    if (!bits || !values || *values > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return bad_input("more values than a file can hold");
    }
    if (*bits % 8 != 0) return bad_input("no whole number of bytes");
    return *bits / 8;
  }

  std::span<const std::byte> data_;
  Allowance& allowance_;
  Entry entry_;
};

// The ranges in order are one unbroken whole: what lies between would be read by nobody, which is
// where things hide, and what two share changes with either.
Status check_ranges(std::vector<StoredTensor>& tensors, std::span<const std::byte> data) {
  std::sort(tensors.begin(), tensors.end(), [](const StoredTensor& a, const StoredTensor& b) {
    return std::pair(a.bytes.data(), a.bytes.size()) < std::pair(b.bytes.data(), b.bytes.size());
  });
  const std::byte* at = data.data();
  for (const StoredTensor& tensor : tensors) {
    if (tensor.bytes.data() != at) {
      return bad_input("tensor '{}': its bytes begin at {} of the data, those before end at {}",
                       printable(tensor.name),
                       tensor.bytes.data() - data.data(),
                       at - data.data());
    }
    at += tensor.bytes.size();
  }
  const size_t left = data.size() - static_cast<size_t>(at - data.data());
  if (left != 0) return bad_input("offset 0: {} bytes at the end belong to no tensor", left);
  return {};
}

Status check_names(const std::vector<StoredTensor>& tensors) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const StoredTensor& tensor : tensors) names.push_back(tensor.name);
  std::ranges::sort(names);
  const auto twice = std::ranges::adjacent_find(names);
  if (twice == names.end()) return {};
  return bad_input("tensor '{}': occurs a second time", printable(*twice));
}

}  // namespace

int64_t StoredTensor::size() const {
  int64_t n = 1;
  for (size_t d = 0; d < n_dims; ++d) n *= shape[d];
  return n;
}

std::string StoredTensor::describe() const {
  return fmt::format("{} [{}]", type->name, fmt::join(shape.begin(), shape.begin() + n_dims, ", "));
}

Result<std::vector<StoredTensor>> parse_safetensors(std::span<const std::byte> image,
                                                    Allowance& allowance) {
  ByteReader in(image);
  FARTHING_TRY(const uint64_t length, in.read<uint64_t>("length of the header"));
  if (length > kMaxStoredHeader) {
    return bad_input("offset 0: a header of {} bytes, at most {} are allowed: no safetensors file?",
                     length,
                     kMaxStoredHeader);
  }
  FARTHING_TRY(const std::span<const std::byte> header, in.take(length, "header"));
  HeaderReader reader(image.subspan(in.offset()), allowance);
  FARTHING_TRY_VOID(read_json(
      header,
      {[&](JsonPath path, std::optional<MetaValue> value) { return reader.scalar(path, value); },
       [&](JsonPath path) { return reader.ended(path); }}));
  FARTHING_TRY_VOID(check_names(reader.tensors));
  FARTHING_TRY_VOID(check_ranges(reader.tensors, image.subspan(in.offset())));
  return std::move(reader.tensors);
}

}  // namespace farthing
