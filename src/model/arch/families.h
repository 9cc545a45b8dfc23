// One function per family: metadata -> ModelSpec. The list of names stands in model/registry.cc.
#pragma once

#include "base/result.h"
#include "model/spec.h"
#include "model/spec_reader.h"

namespace farthing {

Result<ModelSpec> llama_spec(const SpecReader& reader);
Result<ModelSpec> qwen2_spec(const SpecReader& reader);
Result<ModelSpec> qwen3_spec(const SpecReader& reader);
Result<ModelSpec> gemma2_spec(const SpecReader& reader);
Result<ModelSpec> gemma3_spec(const SpecReader& reader);

}  // namespace farthing
