#include "text/utf8.h"

#include <algorithm>
#include <cstdint>

namespace farthing {
namespace {

struct Scan {
  size_t length;  // bytes that belong together
  enum { kCharacter, kUnfinished, kBad } state;
};

// What the second byte of a character may be: it rules out overlong forms, surrogates and beyond
// U+10FFFF.
bool second_byte_fits(uint8_t lead, uint8_t second) {
  switch (lead) {
    case 0xE0:
      return second >= 0xA0 && second <= 0xBF;
    case 0xED:
      return second >= 0x80 && second <= 0x9F;
    case 0xF0:
      return second >= 0x90 && second <= 0xBF;
    case 0xF4:
      return second >= 0x80 && second <= 0x8F;
    default:
      return second >= 0x80 && second <= 0xBF;
  }
}

size_t length_of_lead(uint8_t lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

Scan scan(std::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const size_t length = length_of_lead(at(0));
  if (length == 0) return {1, Scan::kBad};
  for (size_t i = 1; i < length; ++i) {
    if (i == bytes.size()) return {i, Scan::kUnfinished};
    const bool fits = i == 1 ? second_byte_fits(at(0), at(1)) : (at(i) & 0xC0) == 0x80;
    if (!fits) return {i, Scan::kBad};
  }
  return {length, Scan::kCharacter};
}

}  // namespace

size_t utf8_whole_prefix(std::string_view bytes) {
  // An unfinished character is at most three bytes long and starts with its only lead byte.
  for (size_t back = 1; back <= std::min<size_t>(3, bytes.size()); ++back) {
    const size_t start = bytes.size() - back;
    if ((static_cast<uint8_t>(bytes[start]) & 0xC0) == 0x80) continue;
    return scan(bytes.substr(start)).state == Scan::kUnfinished ? start : bytes.size();
  }
  return bytes.size();
}

std::string utf8_lossy(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (size_t i = 0; i < bytes.size();) {
    const Scan next = scan(bytes.substr(i));
    text += next.state == Scan::kCharacter ? bytes.substr(i, next.length) : "\xEF\xBF\xBD";
    i += next.length;
  }
  return text;
}

}  // namespace farthing
