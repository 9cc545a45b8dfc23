#include "load/gguf_writer.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"
#include "base/checked.h"

namespace farthing {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint32_t kMagic = 0x46554747;
constexpr uint32_t kVersion = 3;

template <class T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void append_string(std::string& out, std::string_view text) {
  append<uint64_t>(out, text.size());
  out += text;
}

std::string head_of(std::span<const GgufKey> keys,
                    std::span<const GgufTensor> tensors,
                    int64_t alignment) {
  std::string head;
  append(head, kMagic);
  append(head, kVersion);
  append<uint64_t>(head, tensors.size());
  append<uint64_t>(head, keys.size());
  for (const GgufKey& key : keys) {
    append_string(head, key.key);
    append(head, static_cast<uint32_t>(key.type));
    head += key.value;
  }
  int64_t offset = 0;
  for (const GgufTensor& tensor : tensors) {
    append_string(head, tensor.name);
    append(head, static_cast<uint32_t>(tensor.n_dims));
    for (int d = 0; d < tensor.n_dims; ++d) append(head, static_cast<uint64_t>(tensor.dims[d]));
    append(head, format_of(tensor.type).ggml_type);
    append(head, static_cast<uint64_t>(offset));
    offset += round_up(tensor.bytes(), alignment);
  }
  head.resize(static_cast<size_t>(round_up(static_cast<int64_t>(head.size()), alignment)));
  return head;
}

}  // namespace

GgufKey gguf_key(std::string key, uint32_t value) {
  GgufKey out{std::move(key), MetaType::kUint32, {}};
  append(out.value, value);
  return out;
}

GgufKey gguf_key(std::string key, std::string_view value) {
  GgufKey out{std::move(key), MetaType::kString, {}};
  append_string(out.value, value);
  return out;
}

GgufKey gguf_key(std::string key, const std::vector<std::string>& values) {
  GgufKey out{std::move(key), MetaType::kArray, {}};
  append(out.value, static_cast<uint32_t>(MetaType::kString));
  append<uint64_t>(out.value, values.size());
  for (const std::string& value : values) append_string(out.value, value);
  return out;
}

GgufKey gguf_key(const GgufEntry& entry) {
  return {std::string(entry.key),
          entry.type,
          std::string(reinterpret_cast<const char*>(entry.value.data()), entry.value.size())};
}

Result<GgufWriter> GgufWriter::create(const std::string& path,
                                      std::span<const GgufKey> keys,
                                      std::vector<GgufTensor> tensors,
                                      uint64_t alignment) {
  CHECK(std::has_single_bit(alignment));
  const std::string head = head_of(keys, tensors, static_cast<int64_t>(alignment));
  auto bytes = static_cast<int64_t>(head.size());
  for (const GgufTensor& tensor : tensors)
    bytes += round_up(tensor.bytes(), static_cast<int64_t>(alignment));
  FARTHING_TRY(NewFile file, NewFile::create(path, bytes));
  FARTHING_TRY_VOID(file.write(std::as_bytes(std::span(head))));
  return GgufWriter(std::move(file), std::move(tensors), alignment);
}

GgufWriter::GgufWriter(NewFile file, std::vector<GgufTensor> tensors, uint64_t alignment)
    : file_(std::move(file)), tensors_(std::move(tensors)), alignment_(alignment) {
  if (!tensors_.empty()) left_ = tensors_.front().bytes();
}

Status GgufWriter::pad() {
  static constexpr std::array<std::byte, 4096> kZeroes{};
  int64_t n = round_up(file_.written(), static_cast<int64_t>(alignment_)) - file_.written();
  while (n > 0) {
    const int64_t part = std::min<int64_t>(n, kZeroes.size());
    FARTHING_TRY_VOID(file_.write(std::span(kZeroes).first(static_cast<size_t>(part))));
    n -= part;
  }
  return {};
}

Status GgufWriter::write(std::span<const std::byte> bytes) {
  CHECK(tensor_ < tensors_.size() && static_cast<int64_t>(bytes.size()) <= left_);
  FARTHING_TRY_VOID(file_.write(bytes));
  left_ -= static_cast<int64_t>(bytes.size());
  if (left_ > 0) return {};
  ++tensor_;
  if (tensor_ < tensors_.size()) left_ = tensors_[tensor_].bytes();
  return pad();
}

Status GgufWriter::finish() {
  CHECK(tensor_ == tensors_.size());
  return file_.finish();
}

}  // namespace farthing
