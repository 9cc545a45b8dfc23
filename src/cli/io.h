// Bytes in and out of file descriptors: whole, bounded, with the reason if it can't be.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace farthing {

inline constexpr size_t kMostInputBytes = size_t{256} << 20;

// Standard input to its end, byte for byte; kBadInput beyond `most` bytes.
Result<std::string> read_stdin(size_t most = kMostInputBytes);

// All of it to standard output, or kRuntime with the system's reason (a full disk, a closed pipe).
Status write_stdout(std::string_view text);

}  // namespace farthing
