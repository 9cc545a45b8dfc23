// From a file's rope.* keys to a RopeSpec: base and scaling (linear, YaRN, the Llama 3 factors).
#pragma once

#include <cstdint>

#include "base/result.h"
#include "model/spec.h"
#include "model/spec_reader.h"

namespace farthing {

Result<RopeSpec> read_rope(const SpecReader& reader,
                           RopeSpec::Pairing pairing,
                           int32_t head_dim,
                           int32_t context_length);

}  // namespace farthing
