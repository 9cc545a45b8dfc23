// Qwen 2 and 2.5 (biases on Q, K and V, found by their tensors) and Qwen 3 (RMSNorm on each head of
// Q and K).
#include "model/arch/families.h"

namespace farthing {

Result<ModelSpec> qwen2_spec(const SpecReader& reader) {
  return read_common_spec(reader, RopeSpec::Pairing::kHalves);
}

Result<ModelSpec> qwen3_spec(const SpecReader& reader) {
  FARTHING_TRY(ModelSpec spec, read_common_spec(reader, RopeSpec::Pairing::kHalves));
  for (LayerSpec& layer : spec.layers) std::get<AttentionSpec>(layer.mixer).qk_norm = true;
  return spec;
}

}  // namespace farthing
