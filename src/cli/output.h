// What verbs write, and how it ends: text to a stream, one line per error, an exit code.
// Invariant: JSON written here is valid whatever bytes a file held (bytes that aren't UTF-8 become
// U+FFFD).
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace farthing {

std::string to_text(const Json& json, int indent = -1);

void write(std::FILE* out, std::string_view text);

// "error: ..." in one line on `err`; returns the exit code.
int report(const Error& error, std::FILE* err);

// Flushes `out`: 0, or kRuntime if what was written got lost (disk full, closed pipe), which is
// said on `err`.
int finish(std::FILE* out, std::FILE* err);

}  // namespace farthing
