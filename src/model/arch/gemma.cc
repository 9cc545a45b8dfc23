// Gemma 2 (Gemma Team, 2024) and Gemma 3 (2025). Norm weights are stored with +1 in the file;
// embeddings are scaled by sqrt(d_model); the head is the embedding.
#include <cmath>

#include "model/arch/families.h"

namespace farthing {
namespace {

constexpr int32_t kGemma2LayersOf27B = 46;
constexpr int32_t kGemma3LayersOf27B = 62;

// What both share; every `period`-th layer sees everything, the others a sliding window.
Result<ModelSpec> gemma_spec(const SpecReader& reader, int32_t period, int32_t layers_of_27b) {
  FARTHING_TRY(ModelSpec spec, read_common_spec(reader, RopeSpec::Pairing::kHalves));
  spec.embedding_scale = std::sqrt(static_cast<float>(spec.d_model));
  FARTHING_TRY(const int64_t window,
               reader.integer_or("attention.sliding_window", 1, 1 << 24, 4096));
  for (int32_t i = 0; i < spec.n_layers(); ++i) {
    auto& attention = std::get<AttentionSpec>(spec.layers[i].mixer);
    if (i % period != period - 1) attention.window = static_cast<int32_t>(window);
    // The 27B models divide by the width per head, all others by the head's own size.
    if (spec.n_layers() == layers_of_27b) {
      attention.scale = 1.0f / std::sqrt(static_cast<float>(spec.d_model / attention.n_heads));
    }
    spec.layers[i].post_norms = true;
    std::get<DenseFfnSpec>(spec.layers[i].ffn).activation = DenseFfnSpec::Activation::kGelu;
  }
  return spec;
}

}  // namespace

Result<ModelSpec> gemma2_spec(const SpecReader& reader) {
  FARTHING_TRY(ModelSpec spec, gemma_spec(reader, 2, kGemma2LayersOf27B));
  FARTHING_TRY(const double attention_cap,
               reader.number_or("attn_logit_softcapping", 0, 1e6, 50.0));
  FARTHING_TRY(const double final_cap, reader.number_or("final_logit_softcapping", 0, 1e6, 30.0));
  spec.final_softcap = static_cast<float>(final_cap);
  for (LayerSpec& layer : spec.layers) {
    std::get<AttentionSpec>(layer.mixer).softcap = static_cast<float>(attention_cap);
  }
  return spec;
}

Result<ModelSpec> gemma3_spec(const SpecReader& reader) {
  FARTHING_TRY(ModelSpec spec, gemma_spec(reader, 6, kGemma3LayersOf27B));
  FARTHING_TRY(const double final_cap, reader.number_or("final_logit_softcapping", 0, 1e6, 0.0));
  spec.final_softcap = static_cast<float>(final_cap);
  // Sliding layers rotate with a base of their own, unscaled.
  FARTHING_TRY(const double local_base,
               reader.number_or("rope.freq_base_swa", 1.0001, 1e12, 10000.0));
  spec.ropes.push_back(plain_rope(RopeSpec::Pairing::kHalves, spec.ropes[0].dims, local_base, 1.0));
  for (LayerSpec& layer : spec.layers) {
    auto& attention = std::get<AttentionSpec>(layer.mixer);
    attention.qk_norm = true;
    if (attention.window > 0) attention.rope = 1;
  }
  return spec;
}

}  // namespace farthing
