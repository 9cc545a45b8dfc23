// farthing --version
#pragma once

#include <string>

namespace farthing {

// "farthing 0.1.0 (commit 1a2b3c4d5e6f, GNU 12.2.0, kernels avx512vnni)"
std::string version_line();

std::string commit_id();  // of the source this was built from

}  // namespace farthing
