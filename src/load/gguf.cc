#include "load/gguf.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/checked.h"
#include "base/utf8.h"
#include "load/byte_reader.h"

namespace farthing {
namespace {

static_assert(std::endian::native == std::endian::little);

// The least bytes an entry can take in the file: they bound a count before anything is reserved for
// it.
constexpr uint64_t kLeastKeyEntry = 8 + 1 + 4 + 1;  // length, one character, type, a one-byte value
constexpr uint64_t kLeastTensorEntry =
    8 + 1 + 4 + 4 + 8;  // length, one character, n_dims 0, type, offset
// A node of the map: key, value, three pointers and a colour, malloc's own.
constexpr uint64_t kKeyNodeBytes = sizeof(std::pair<const std::string, MetaValue>) + 48;

struct Header {
  uint32_t version = 0;
  uint64_t n_tensors = 0;
  uint64_t n_keys = 0;
};

Error not_gguf(uint32_t magic) {
  char text[4];
  std::memcpy(text, &magic, 4);
  const std::string_view seen(text, 4);
  for (std::string_view old : {"lmgg", "fmgg", "tjgg", "algg"}) {
    if (seen == old) {
      return bad_input(
          "offset 0: an old GGML file ('{}'), from before GGUF: convert the model again", old);
    }
  }
  return bad_input("offset 0: not a GGUF file: it begins with '{}' instead of 'GGUF'",
                   printable(seen));
}

Status check_version(uint32_t version) {
  if (version == 2 || version == 3) return {};
  // A version is a small number, so its low half is zero only in a byte-swapped file.
  if (version != 0 && (version & 0xFFFF) == 0) {
    return bad_input(
        "offset 4: a big-endian GGUF file: convert the model again for little-endian machines");
  }
  if (version == 1)
    return bad_input("offset 4: GGUF version 1 is no longer supported: convert the model again");
  return bad_input("offset 4: GGUF version {} is unknown (2 and 3 are supported)", version);
}

Status check_count(
    uint64_t count, uint64_t cap, uint64_t least_bytes, uint64_t left, std::string_view what) {
  if (count > cap)
    return bad_input(
        "offset 8: the header announces {} {}, at most {} are allowed", count, what, cap);
  if (count > left / least_bytes) {
    return bad_input(
        "offset 8: the header announces {} {}, but only {} bytes follow: truncated download?",
        count,
        what,
        left);
  }
  return {};
}

Result<Header> read_header(ByteReader& in) {
  FARTHING_TRY(const uint32_t magic, in.read<uint32_t>("GGUF magic"));
  if (magic != 0x46554747) return not_gguf(magic);
  Header h;
  FARTHING_TRY(h.version, in.read<uint32_t>("version"));
  FARTHING_TRY_VOID(check_version(h.version));
  FARTHING_TRY(h.n_tensors, in.read<uint64_t>("number of tensors"));
  FARTHING_TRY(h.n_keys, in.read<uint64_t>("number of keys"));
  FARTHING_TRY_VOID(check_count(h.n_tensors, kMaxTensors, kLeastTensorEntry, in.left(), "tensors"));
  FARTHING_TRY_VOID(check_count(h.n_keys, kMaxKeys, kLeastKeyEntry, in.left(), "keys"));
  return h;
}

// 0 for strings, arrays and unknown types.
constexpr uint64_t fixed_size(uint32_t type) {
  constexpr uint8_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return type < std::size(kSizes) ? kSizes[type] : 0;
}

template <class Stored, class Wide>
Result<MetaValue> read_scalar(ByteReader& in) {
  FARTHING_TRY(const Stored value, in.read<Stored>("value"));
  return MetaValue(static_cast<Wide>(value));
}

Result<MetaValue> read_bool(ByteReader& in) {
  const size_t at = in.offset();
  FARTHING_TRY(const uint8_t value, in.read<uint8_t>("value"));
  if (value > 1) return bad_input("offset {}: a boolean is {}, must be 0 or 1", at, value);
  return MetaValue(value == 1);
}

Result<MetaValue> read_text(ByteReader& in, Allowance& allowance) {
  FARTHING_TRY(const std::string_view text, in.string(kMaxStringBytes, "value"));
  FARTHING_TRY_VOID(allowance.take(Allowance::string_cost(text.size())));
  return MetaValue(std::string(text));
}

// Walks over the strings of an array, so that later readers find them in place.
Status skip_strings(ByteReader& in, uint64_t count) {
  std::string_view text;
  for (uint64_t i = 0; i < count; ++i) {
    const size_t at = in.offset();
    if (!in.try_read_string(text)) {
      return bad_input(
          "offset {}: the file ends inside element {} of {}: truncated download?", at, i, count);
    }
    if (text.size() > kMaxStringBytes) {
      return bad_input("offset {}: element {} is {} bytes long, at most {} are allowed",
                       at,
                       i,
                       text.size(),
                       kMaxStringBytes);
    }
  }
  return {};
}

Result<MetaValue> read_array(ByteReader& in, std::span<const std::byte> image) {
  const size_t type_at = in.offset();
  FARTHING_TRY(const uint32_t type, in.read<uint32_t>("element type"));
  if (type == static_cast<uint32_t>(MetaType::kArray)) {
    return bad_input("offset {}: an array of arrays, which no model needs", type_at);
  }
  const bool is_string = type == static_cast<uint32_t>(MetaType::kString);
  const uint64_t size = is_string ? sizeof(uint64_t) : fixed_size(type);
  if (size == 0)
    return bad_input("offset {}: unknown element type {} (0 to 12 are known)", type_at, type);
  FARTHING_TRY(const uint64_t count, in.read<uint64_t>("element count"));
  if (count > in.left() / size) {
    return bad_input(
        "offset {}: an array of {} elements, but only {} bytes follow: truncated download?",
        type_at + sizeof type,
        count,
        in.left());
  }
  const size_t begin = in.offset();
  if (is_string) {
    FARTHING_TRY_VOID(skip_strings(in, count));
  } else {
    FARTHING_TRY([[maybe_unused]] const auto skipped, in.take(count * size, "array"));
  }
  return MetaValue(
      MetaArray{static_cast<MetaType>(type), count, image.subspan(begin, in.offset() - begin)});
}

Result<MetaValue> read_value(ByteReader& in,
                             std::span<const std::byte> image,
                             Allowance& allowance) {
  const size_t type_at = in.offset();
  FARTHING_TRY(const uint32_t type, in.read<uint32_t>("value type"));
  switch (static_cast<MetaType>(type)) {
    case MetaType::kUint8:
      return read_scalar<uint8_t, uint64_t>(in);
    case MetaType::kInt8:
      return read_scalar<int8_t, int64_t>(in);
    case MetaType::kUint16:
      return read_scalar<uint16_t, uint64_t>(in);
    case MetaType::kInt16:
      return read_scalar<int16_t, int64_t>(in);
    case MetaType::kUint32:
      return read_scalar<uint32_t, uint64_t>(in);
    case MetaType::kInt32:
      return read_scalar<int32_t, int64_t>(in);
    case MetaType::kFloat32:
      return read_scalar<float, double>(in);
    case MetaType::kBool:
      return read_bool(in);
    case MetaType::kString:
      return read_text(in, allowance);
    case MetaType::kArray:
      return read_array(in, image);
    case MetaType::kUint64:
      return read_scalar<uint64_t, uint64_t>(in);
    case MetaType::kInt64:
      return read_scalar<int64_t, int64_t>(in);
    case MetaType::kFloat64:
      return read_scalar<double, double>(in);
  }
  return bad_input("offset {}: unknown value type {} (0 to 12 are known)", type_at, type);
}

Status read_key(ByteReader& in,
                std::span<const std::byte> image,
                Allowance& allowance,
                Metadata& metadata) {
  const size_t at = in.offset();
  FARTHING_TRY(const std::string_view key, in.string(kMaxKeyBytes, "key"));
  if (key.empty()) return bad_input("offset {}: an empty key", at);
  const std::string where = fmt::format("key '{}'", printable(key));
  if (auto taken = allowance.take(kKeyNodeBytes + Allowance::string_cost(key.size())); !taken) {
    return std::move(taken).error().in(where);
  }
  auto value = read_value(in, image, allowance);
  if (!value) return std::move(value).error().in(where);
  if (!metadata.values.emplace(key, *std::move(value)).second) {
    return bad_input("{}: occurs a second time at offset {}", where, at);
  }
  return {};
}

Result<uint64_t> read_alignment(const Metadata& metadata) {
  constexpr std::string_view kKey = "general.alignment";
  FARTHING_TRY(const std::optional<int64_t> value,
               metadata.integer(
                   kKey, static_cast<int64_t>(kMinAlignment), static_cast<int64_t>(kMaxAlignment)));
  const auto alignment =
      static_cast<uint64_t>(value.value_or(static_cast<int64_t>(kDefaultAlignment)));
  if (!std::has_single_bit(alignment)) {
    return bad_input("key '{}': {} is not a power of two", kKey, alignment);
  }
  return alignment;
}

// Values of the tensor, from dimensions that are nonzero and whose product fits.
Result<uint64_t> read_dims(ByteReader& in, TensorView& view) {
  const size_t at = in.offset();
  FARTHING_TRY(const uint32_t n_dims, in.read<uint32_t>("number of dimensions"));
  if (n_dims > kMaxDims)
    return bad_input("offset {}: {} dimensions, at most {} are allowed", at, n_dims, kMaxDims);
  view.n_dims = static_cast<int>(n_dims);
  uint64_t values = 1;
  for (uint32_t d = 0; d < n_dims; ++d) {
    const size_t dim_at = in.offset();
    FARTHING_TRY(const uint64_t dim, in.read<uint64_t>("dimension"));
    if (dim == 0) return bad_input("offset {}: dimension {} is 0", dim_at, d);
    const auto product = checked_mul(values, dim);
    if (!product || *product > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return bad_input(
          "offset {}: dimension {} is {}: more values than a file can hold", dim_at, d, dim);
    }
    values = *product;
    view.dims[d] = static_cast<int64_t>(dim);
  }
  return values;
}

Status read_type(ByteReader& in, uint64_t values, TensorView& view) {
  const size_t at = in.offset();
  FARTHING_TRY(const uint32_t number, in.read<uint32_t>("tensor type"));
  const Format* format = format_from_ggml(number);
  if (format == nullptr) {
    return bad_input(
        "offset {}: type {} is unknown or not supported: requantise the model (e.g. to Q4_K_M or "
        "Q8_0)",
        at,
        number);
  }
  if (view.dims[0] % format->qblock_values != 0) {
    return bad_input(
        "offset {}: rows of {} values are no whole number of {} blocks ({} values each)",
        at,
        view.dims[0],
        format->name,
        format->qblock_values);
  }
  const auto bytes = checked_mul(values / static_cast<uint64_t>(format->qblock_values),
                                 static_cast<uint64_t>(format->qblock_bytes));
  if (!bytes || *bytes > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return bad_input(
        "offset {}: {} values of {} are more bytes than a file can hold", at, values, format->name);
  }
  view.type = format->type;
  return {};
}

// A tensor of the directory and its offset in the data section, which begins where the directory
// ends.
struct Entry {
  TensorView view;
  uint64_t offset = 0;
};

Result<Entry> read_entry_body(ByteReader& in, std::string_view name, uint64_t alignment) {
  Entry entry;
  entry.view.name = name;
  FARTHING_TRY(const uint64_t values, read_dims(in, entry.view));
  FARTHING_TRY_VOID(read_type(in, values, entry.view));
  const size_t at = in.offset();
  FARTHING_TRY(entry.offset, in.read<uint64_t>("tensor offset"));
  if (entry.offset % alignment != 0) {
    return bad_input("offset {}: data offset {} is no multiple of the alignment {}",
                     at,
                     entry.offset,
                     alignment);
  }
  return entry;
}

Result<Entry> read_entry(ByteReader& in, uint64_t index, uint64_t alignment) {
  const size_t at = in.offset();
  auto name = in.string(kMaxTensorNameBytes, "name");
  if (!name) return std::move(name).error().in(fmt::format("tensor {}", index));
  if (name->empty()) return bad_input("tensor {}: offset {}: an empty name", index, at);
  auto entry = read_entry_body(in, *name, alignment);
  if (!entry) return std::move(entry).error().in(fmt::format("tensor '{}'", printable(*name)));
  return *std::move(entry);
}

// Gives the tensor its bytes: [data_offset + offset, + bytes) must lie inside the image.
Status place(TensorView& view,
             uint64_t offset,
             std::span<const std::byte> image,
             uint64_t data_offset) {
  const auto bytes = static_cast<uint64_t>(bytes_for(view.type, view.size()));
  const auto begin = checked_add(data_offset, offset);
  const auto end = begin ? checked_add(*begin, bytes) : std::nullopt;
  if (!end || *end > image.size()) {
    return bad_input(
        "tensor '{}': {} bytes at data offset {} (data begins at {}) reach beyond the end of the "
        "file ({} bytes): "
        "truncated download?",
        printable(view.name),
        bytes,
        offset,
        data_offset,
        image.size());
  }
  view.bytes = image.subspan(*begin, bytes);
  return {};
}

Status check_overlap(const std::vector<TensorView>& tensors) {
  std::vector<uint32_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return tensors[a].bytes.data() < tensors[b].bytes.data();
  });
  for (size_t i = 1; i < order.size(); ++i) {
    const TensorView& before = tensors[order[i - 1]];
    const TensorView& after = tensors[order[i]];
    if (before.bytes.data() + before.bytes.size() > after.bytes.data()) {
      return bad_input(
          "tensor '{}' overlaps tensor '{}'", printable(after.name), printable(before.name));
    }
  }
  return {};
}

Status read_tensors(ByteReader& in,
                    std::span<const std::byte> image,
                    uint64_t count,
                    Allowance& allowance,
                    GgufImage& out) {
  // The view, its offset, and two index entries (here and in model_file.cc).
  FARTHING_TRY_VOID(
      allowance.take(count * (sizeof(TensorView) + sizeof(uint64_t) + 2 * sizeof(uint32_t))));
  out.tensors.reserve(count);
  std::vector<uint64_t> offsets;
  offsets.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    FARTHING_TRY(Entry entry, read_entry(in, i, out.alignment));
    FARTHING_TRY_VOID(
        allowance.take(Allowance::string_cost(entry.view.name.size()) - sizeof(std::string)));
    offsets.push_back(entry.offset);
    out.tensors.push_back(std::move(entry.view));
  }
  const auto data_offset = checked_align<uint64_t>(in.offset(), out.alignment);
  CHECK(data_offset.has_value());  // an offset inside a real file is far from 2^64
  out.data_offset = *data_offset;
  for (uint64_t i = 0; i < count; ++i) {
    FARTHING_TRY_VOID(place(out.tensors[i], offsets[i], image, out.data_offset));
  }
  return check_overlap(out.tensors);
}

}  // namespace

Result<GgufImage> parse_gguf(std::span<const std::byte> image, Allowance& allowance) {
  ByteReader in(image);
  GgufImage out;
  FARTHING_TRY(const Header header, read_header(in));
  out.version = header.version;
  for (uint64_t i = 0; i < header.n_keys; ++i) {
    FARTHING_TRY_VOID(read_key(in, image, allowance, out.metadata));
  }
  FARTHING_TRY(out.alignment, read_alignment(out.metadata));
  FARTHING_TRY_VOID(read_tensors(in, image, header.n_tensors, allowance, out));
  return out;
}

Result<std::vector<GgufEntry>> gguf_entries(std::span<const std::byte> image) {
  ByteReader in(image);
  Allowance allowance;
  FARTHING_TRY(const Header header, read_header(in));
  FARTHING_TRY_VOID(allowance.take(header.n_keys * sizeof(GgufEntry)));
  std::vector<GgufEntry> entries;
  entries.reserve(header.n_keys);
  for (uint64_t i = 0; i < header.n_keys; ++i) {
    GgufEntry entry;
    FARTHING_TRY(entry.key, in.string(kMaxKeyBytes, "key"));
    const size_t type_at = in.offset();
    FARTHING_TRY([[maybe_unused]] const MetaValue value, read_value(in, image, allowance));
    uint32_t type = 0;
    std::memcpy(&type, image.data() + type_at, sizeof type);
    entry.type = static_cast<MetaType>(type);
    entry.value = image.subspan(type_at + sizeof type, in.offset() - type_at - sizeof type);
    entries.push_back(entry);
  }
  return entries;
}

}  // namespace farthing
