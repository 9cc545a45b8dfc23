#include "cli/io.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace farthing {

Result<std::string> read_stdin(size_t most) {
  std::string text;
  char block[1 << 16];
  for (;;) {
    const ssize_t n = ::read(STDIN_FILENO, block, sizeof(block));
    if (n == 0) return text;
    if (n < 0) {
      if (errno == EINTR) continue;
      return runtime_failure("standard input: {}", std::strerror(errno));
    }
    if (text.size() + static_cast<size_t>(n) > most) {
      return bad_input("standard input has more than {} bytes: give less at once", most);
    }
    text.append(block, static_cast<size_t>(n));
  }
}

Status write_stdout(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return runtime_failure("standard output: {}", std::strerror(errno));
    }
    text.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

}  // namespace farthing
