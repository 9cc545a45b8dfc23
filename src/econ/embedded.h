// The files of data/ and scenarios/ as they were when the program was built (cmake/embed.cmake): it
// needs nothing beside itself.
#pragma once

#include <span>
#include <string_view>

namespace farthing {

struct EmbeddedFile {
  std::string_view name;  // "scenarios/toast.toml"
  std::string_view text;
};
std::span<const EmbeddedFile> embedded_files();

// Empty if there is none of that name.
inline std::string_view embedded_file(std::string_view name) {
  for (const EmbeddedFile& file : embedded_files()) {
    if (file.name == name) return file.text;
  }
  return {};
}

}  // namespace farthing
