#include "base/utf8.h"

#include <fmt/format.h>

#include <cstdint>

namespace farthing {
namespace {

uint8_t byte_at(std::string_view bytes, size_t i) {
  return static_cast<uint8_t>(bytes[i]);
}

// The length that a lead byte announces and the range of its second byte (RFC 3629, section 4).
struct Lead {
  size_t length;
  uint8_t second_low;
  uint8_t second_high;
};

Lead lead_of(uint8_t b) {
  if (b < 0x80) return {1, 0, 0};
  if (b < 0xC2) return {0, 0, 0};
  if (b < 0xE0) return {2, 0x80, 0xBF};
  if (b == 0xE0) return {3, 0xA0, 0xBF};
  if (b == 0xED) return {3, 0x80, 0x9F};
  if (b < 0xF0) return {3, 0x80, 0xBF};
  if (b == 0xF0) return {4, 0x90, 0xBF};
  if (b < 0xF4) return {4, 0x80, 0xBF};
  if (b == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// C0, DEL, C1, line and paragraph separators, and the characters that reorder what a reader sees.
bool is_unsafe(uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x61C || c == 0x200E || c == 0x200F ||
         (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF;
}

uint32_t decode(std::string_view code_point) {
  constexpr uint8_t kLeadMask[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
  uint32_t c = byte_at(code_point, 0) & kLeadMask[code_point.size()];
  for (size_t i = 1; i < code_point.size(); ++i) c = c << 6 | (byte_at(code_point, i) & 0x3F);
  return c;
}

}  // namespace

size_t utf8_length(std::string_view bytes) {
  if (bytes.empty()) return 0;
  const Lead lead = lead_of(byte_at(bytes, 0));
  if (lead.length <= 1) return lead.length;
  if (bytes.size() < lead.length) return 0;
  if (byte_at(bytes, 1) < lead.second_low || byte_at(bytes, 1) > lead.second_high) return 0;
  for (size_t i = 2; i < lead.length; ++i) {
    if ((byte_at(bytes, i) & 0xC0) != 0x80) return 0;
  }
  return lead.length;
}

size_t utf8_valid_prefix(std::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size()) {
    const size_t n = utf8_length(bytes.substr(at));
    if (n == 0) break;
    at += n;
  }
  return at;
}

std::string printable(std::string_view bytes, size_t max_bytes) {
  std::string out;
  size_t at = 0;
  while (at < bytes.size()) {
    if (out.size() >= max_bytes) return out + "...";
    const size_t n = utf8_length(bytes.substr(at));
    if (n == 0) {
      out += fmt::format("\\x{:02x}", byte_at(bytes, at++));
      continue;
    }
    const std::string_view code_point = bytes.substr(at, n);
    const uint32_t c = decode(code_point);
    if (c == '\n') {
      out += "\\n";
    } else if (is_unsafe(c)) {
      out += fmt::format("\\u{{{:x}}}", c);
    } else {
      out += code_point;
    }
    at += n;
  }
  return out;
}

}  // namespace farthing
