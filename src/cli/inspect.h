// farthing inspect FILE: what a model file holds: metadata, tensors, memory.
#pragma once

#include <cstdio>
#include <string>

namespace farthing {

// On `out`, for people or as one JSON object
// {"format","architecture","metadata","tensors","types","memory"}; a file that can't be opened is
// one line on `err`. Returns the exit code. JSON: a tensor's "shape" is in GGUF order (the
// contiguous dimension first), "offset" counts from the start of its file ("file": which shard,
// from 0, of a split model). A long array is {"type","count","first"}, and strings are cut after 64
// KiB.
int inspect_file(const std::string& path, bool json, std::FILE* out, std::FILE* err);

}  // namespace farthing
