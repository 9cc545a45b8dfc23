// farthing check FILE: is this model whole, and consistent with itself?
#pragma once

#include <cstdio>
#include <string>

namespace farthing {

// One line (or one JSON object) on `out` if the file is fine, else one line on `err` (JSON: on
// `out`) that names the key or offset. Returns the exit code.
int check_file(const std::string& path, bool json, std::FILE* out, std::FILE* err);

}  // namespace farthing
