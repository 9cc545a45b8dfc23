// What may be shown on a terminal and how. NO_COLOR (any value but empty) and TERM=dumb switch
// styles off.
#pragma once

#include <string>
#include <string_view>

namespace farthing {

bool is_terminal(int fd);

// Escape sequences for a stream, empty where it takes none.
struct Style {
  std::string_view dim;
  std::string_view bold;
  std::string_view reset;
};
Style style_for(int fd);

// A model's text made harmless for a terminal: control characters other than newline and tab (an
// escape sequence could retitle the window or worse) become U+FFFD. `text` is whole UTF-8
// characters.
std::string terminal_text(std::string_view text);

}  // namespace farthing
