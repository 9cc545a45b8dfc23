// Weights: a file's tensors under the names the forward loop uses, every shape checked against the
// spec. Native weights are views into the mapped file; converted ones (--weights f32|int8) are
// owned here.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/result.h"
#include "load/model_file.h"
#include "model/spec.h"
#include "quant/format.h"

namespace farthing {

enum class WeightMode : uint8_t { kNative, kF32, kInt8 };  // --weights

// rows outputs of cols inputs each: out[r] = sum_c weight[r][c] * in[c].
struct WeightMatrix {
  DType type = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  const std::byte* data = nullptr;

  int64_t row_bytes() const { return bytes_for(type, cols); }
};

// A gain or bias; empty if the model has none.
using WeightVector = std::span<const float>;

struct LayerWeights {
  WeightVector attn_norm, attn_post_norm, ffn_norm, ffn_post_norm;
  WeightVector q_norm, k_norm;  // [head_dim]
  WeightMatrix q, k, v, o;
  WeightVector q_bias, k_bias, v_bias, o_bias;
  WeightMatrix gate, up, down;
  WeightVector gate_bias, up_bias, down_bias;
};

struct Weights {
  WeightMatrix embedding;  // [vocab][d_model]; one row is decoded per token
  WeightMatrix head;       // [vocab][d_model]; the embedding again if tied
  WeightVector final_norm;
  std::vector<LayerWeights> layers;
  bool tied = false;
  std::vector<Buffer> owned;  // converted matrices and vectors
};

// kBadInput names the tensor and both shapes; kNoResource if converted weights don't fit.
Result<Weights> bind_weights(const ModelSpec& spec, const ModelFile& file, WeightMode mode);

// The checks of bind_weights without taking memory (for `check`).
Status check_weights(const ModelSpec& spec, const ModelFile& file);

}  // namespace farthing
