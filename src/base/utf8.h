// UTF-8 as RFC 3629 has it (no surrogates, no overlong forms, nothing above U+10FFFF), and text fit
// to be shown.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace farthing {

// Bytes of the code point that `bytes` begins with (1..4), or 0 if it begins with none.
size_t utf8_length(std::string_view bytes);

// Offset of the first byte that isn't UTF-8, or bytes.size().
size_t utf8_valid_prefix(std::string_view bytes);
inline bool is_utf8(std::string_view bytes) {
  return utf8_valid_prefix(bytes) == bytes.size();
}

// For messages and terminals: one line, at most about `max_bytes` ("..." when cut). Control
// characters, direction overrides and bytes that aren't UTF-8 are escaped, so hostile text can
// neither forge a line nor move a cursor.
std::string printable(std::string_view bytes, size_t max_bytes = 80);

}  // namespace farthing
