#include "cli/output.h"

#include <cerrno>
#include <cstring>

namespace farthing {

std::string to_text(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

void write(std::FILE* out, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), out);
}

int report(const Error& error, std::FILE* err) {
  write(err, fmt::format("error: {}\n", error.message));
  return static_cast<int>(error.kind);
}

int finish(std::FILE* out, std::FILE* err) {
  errno = 0;
  if (std::fflush(out) == 0 && std::ferror(out) == 0) return 0;
  return report(runtime_failure("cannot write the output: {}", std::strerror(errno)), err);
}

}  // namespace farthing
