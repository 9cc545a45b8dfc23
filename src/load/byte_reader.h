// A cursor over hostile bytes: every read is checked against what is left, and a failed one says
// where and what. Owns: nothing. Little-endian only. Invariant: 0 <= offset() <= size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/result.h"

namespace farthing {

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  size_t offset() const { return offset_; }
  size_t left() const { return bytes_.size() - offset_; }

  // The fast forms, for loops: false (and the cursor stays) if the bytes aren't there.
  template <class T>
    requires std::is_arithmetic_v<T>
  bool try_read(T& out) {
    if (left() < sizeof(T)) return false;
    std::memcpy(&out, bytes_.data() + offset_, sizeof(T));
    offset_ += sizeof(T);
    return true;
  }
  bool try_take(uint64_t count, std::span<const std::byte>& out) {
    if (left() < count) return false;
    out = bytes_.subspan(offset_, count);
    offset_ += count;
    return true;
  }
  // A string: u64 length, bytes.
  bool try_read_string(std::string_view& out) {
    const size_t start = offset_;
    uint64_t length = 0;
    std::span<const std::byte> text;
    if (!try_read(length) || !try_take(length, text)) {
      offset_ = start;
      return false;
    }
    out = {reinterpret_cast<const char*>(text.data()), text.size()};
    return true;
  }

  // The forms that explain themselves: `what` is a noun, e.g. "number of tensors".
  template <class T>
  Result<T> read(std::string_view what) {
    T out{};
    if (!try_read(out)) return ends_inside(what, sizeof(T));
    return out;
  }
  Result<std::span<const std::byte>> take(uint64_t count, std::string_view what) {
    std::span<const std::byte> out;
    if (!try_take(count, out)) return ends_inside(what, count);
    return out;
  }
  Result<std::string_view> string(uint64_t max_bytes, std::string_view what) {
    const size_t start = offset_;
    FARTHING_TRY(const uint64_t length, read<uint64_t>(what));
    if (length > max_bytes) {
      return bad_input(
          "offset {}: {} is {} bytes long, at most {} are allowed", start, what, length, max_bytes);
    }
    FARTHING_TRY(const std::span<const std::byte> text, take(length, what));
    return std::string_view(reinterpret_cast<const char*>(text.data()), text.size());
  }

  Error ends_inside(std::string_view what, uint64_t needed) const {
    return bad_input(
        "offset {}: the file ends inside the {} (needs {} bytes, {} are left): truncated download?",
        offset_,
        what,
        needed,
        left());
  }

 private:
  std::span<const std::byte> bytes_;
  size_t offset_ = 0;
};

}  // namespace farthing
