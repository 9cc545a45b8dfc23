// CHECK is for our own bugs only: nothing that a request or a file holds may reach one
// (docs/decisions, decision 10 of the architecture). The world's faults are a Result.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace farthing {

[[noreturn]] inline void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "farthing: internal error: %s is false (%s:%d)\n", condition, file, line);
  std::abort();
}

}  // namespace farthing

#define CHECK(condition) \
  ((condition) ? (void)0 : ::farthing::check_failed(#condition, __FILE__, __LINE__))
