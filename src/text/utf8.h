// Does not know: tokens. UTF-8 (RFC 3629) as the Unicode Standard, chapter 3.9, replaces what is
// ill-formed: each maximal part of a character, and each byte that begins none, is one U+FFFD.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace farthing {

// How many bytes from the front may be shown now: all but an unfinished character at the end.
size_t utf8_whole_prefix(std::string_view bytes);

// The text with U+FFFD for what is no UTF-8.
std::string utf8_lossy(std::string_view bytes);

}  // namespace farthing
