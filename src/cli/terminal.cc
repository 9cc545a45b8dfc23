#include "cli/terminal.h"

#include <unistd.h>

#include <cstddef>
#include <cstdlib>

namespace farthing {

bool is_terminal(int fd) {
  return isatty(fd) == 1;
}

Style style_for(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  const bool plain = (no_color && *no_color) || (term && std::string_view(term) == "dumb");
  if (plain || !is_terminal(fd)) return {};
  return {.dim = "\033[2m", .bold = "\033[1m", .reset = "\033[0m"};
}

std::string terminal_text(std::string_view text) {
  constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7F) {
      out += kReplacement;
    } else if (c == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0) {
      out += kReplacement;  // U+0080 to U+009F, the second set of control characters
      ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace farthing
