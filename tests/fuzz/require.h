// What a fuzz target says when a promise is broken: one line, then the abort that the fuzzer sees.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

#include "base/result.h"
#include "base/utf8.h"

namespace farthing::fuzz {

template <class... Args>
void require(bool holds, fmt::format_string<Args...> format, Args&&... args) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", fmt::format(format, std::forward<Args>(args)...).c_str());
  std::abort();
}

// How bad input may be refused: as such, with a reason.
inline void require_refusal(const Error& error) {
  require(error.kind == ErrorKind::kBadInput,
          "kind {}: {}",
          static_cast<int>(error.kind),
          printable(error.message, 400));
  require(!error.message.empty(), "refused without a reason");
}

}  // namespace farthing::fuzz
