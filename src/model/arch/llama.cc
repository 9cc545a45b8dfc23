// Llama 2 and 3, SmolLM2, Mistral. Their files hold Q and K with rows permuted for adjacent-pair
// RoPE.
#include "model/arch/families.h"

namespace farthing {

Result<ModelSpec> llama_spec(const SpecReader& reader) {
  FARTHING_TRY(ModelSpec spec, read_common_spec(reader, RopeSpec::Pairing::kAdjacent));
  // Stated by a Hugging Face folder of an early Mistral alone (load/hf_config.cc).
  FARTHING_TRY(const int64_t window, reader.integer_or("attention.sliding_window", 0, 1 << 24, 0));
  for (LayerSpec& layer : spec.layers) {
    std::get<AttentionSpec>(layer.mixer).window = static_cast<int32_t>(window);
  }
  return spec;
}

}  // namespace farthing
