#include "load/gguf_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
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
  GgufWriter writer;
  writer.path_ = path;
  writer.temporary_ = path + ".part";
  writer.tensors_ = std::move(tensors);
  writer.alignment_ = alignment;
  writer.file_bytes_ = static_cast<int64_t>(head.size());
  for (const GgufTensor& tensor : writer.tensors_)
    writer.file_bytes_ += round_up(tensor.bytes(), static_cast<int64_t>(alignment));
  struct stat there;
  if (::stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode))
    return no_resource("{}: can't be written: there is something that is no file", path);
  writer.fd_ = ::open(writer.temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (writer.fd_ < 0) return no_resource("{}: can't be written: {}", path, std::strerror(errno));
  // Hours of work shouldn't end on a full disk: the room is taken at once, where that can be done.
  if (::fallocate(writer.fd_, 0, 0, writer.file_bytes_) != 0 && (errno == ENOSPC || errno == EFBIG))
    return writer.failed();
  FARTHING_TRY_VOID(writer.put(head.data(), head.size()));
  if (!writer.tensors_.empty()) writer.left_ = writer.tensors_.front().bytes();
  return writer;
}

GgufWriter::GgufWriter(GgufWriter&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      fd_(std::exchange(other.fd_, -1)),
      tensors_(std::move(other.tensors_)),
      alignment_(other.alignment_),
      tensor_(other.tensor_),
      left_(other.left_),
      written_(other.written_),
      file_bytes_(other.file_bytes_) {}

GgufWriter::~GgufWriter() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

Error GgufWriter::failed() const {
  return no_resource("{}: {} (the file takes {} bytes)", path_, std::strerror(errno), file_bytes_);
}

Status GgufWriter::put(const void* bytes, size_t count) {
  const auto* at = static_cast<const std::byte*>(bytes);
  written_ += static_cast<int64_t>(count);
  while (count > 0) {
    const ssize_t n = ::write(fd_, at, count);
    if (n < 0) {
      if (errno == EINTR) continue;
      return failed();
    }
    at += n;
    count -= static_cast<size_t>(n);
  }
  return {};
}

Status GgufWriter::pad() {
  static constexpr std::array<std::byte, 4096> kZeroes{};
  int64_t n = round_up(written_, static_cast<int64_t>(alignment_)) - written_;
  while (n > 0) {
    const int64_t part = std::min<int64_t>(n, kZeroes.size());
    FARTHING_TRY_VOID(put(kZeroes.data(), static_cast<size_t>(part)));
    n -= part;
  }
  return {};
}

Status GgufWriter::write(std::span<const std::byte> bytes) {
  CHECK(tensor_ < tensors_.size() && static_cast<int64_t>(bytes.size()) <= left_);
  FARTHING_TRY_VOID(put(bytes.data(), bytes.size()));
  left_ -= static_cast<int64_t>(bytes.size());
  if (left_ > 0) return {};
  ++tensor_;
  if (tensor_ < tensors_.size()) left_ = tensors_[tensor_].bytes();
  return pad();
}

Status GgufWriter::finish() {
  CHECK(tensor_ == tensors_.size() && written_ == file_bytes_);
  // The name must not be there before the bytes are: a crash would leave a file of zeroes.
  if (::fsync(fd_) != 0 && errno != EINVAL && errno != EROFS) return failed();
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) return failed();
  ::close(std::exchange(fd_, -1));
  return {};
}

}  // namespace farthing
