// The metadata of a model as keys of a GGUF file that is to be written.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "load/gguf_writer.h"
#include "load/model_file.h"

namespace farthing {

// As they stand in the GGUF file, in its order; of any other source, in the types that files of
// GGUF usually have.
Result<std::vector<GgufKey>> gguf_keys(const ModelFile& file);

// Replaces the key of that name, or adds one.
void set_gguf_key(std::vector<GgufKey>& keys, GgufKey key);

// general.alignment, or what goes without saying.
Result<uint64_t> gguf_alignment(const Metadata& metadata);

}  // namespace farthing
