// Weights: a file's tensors under the names the forward loop uses, every shape checked against the
// spec. Owns: the matrices as tiles (quant/tile.h), one copy in huge pages; the file's pages are
// given back while it is made.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/result.h"
#include "load/model_file.h"
#include "model/spec.h"
#include "quant/format.h"
#include "quant/tile.h"

namespace farthing {

enum class WeightMode : uint8_t { kNative, kF32, kInt8 };  // --weights

// What a matrix of the file is packed as. With kInt8, rows that aren't whole groups of 32 stay as
// they are, as quantisers of files leave them.
DType type_in_memory(const TensorView& tensor, WeightMode mode);

// rows outputs of cols inputs each: out[r] = sum_c weight[r][c] * in[c].
struct WeightMatrix {
  DType type = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  const std::byte* tiles = nullptr;

  int64_t n_tiles() const { return (rows + kTileRows - 1) / kTileRows; }
};

// One row per token. A tied table is the head's tiles; another stays in the file, whose pages come
// in as they are asked for.
struct EmbeddingTable {
  WeightMatrix matrix;
  const std::byte* file_rows = nullptr;

  // `row` as f32; `scratch` holds a row of the matrix's type.
  void decode_row(int64_t row, std::byte* scratch, float* out) const;
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
  EmbeddingTable embedding;  // [vocab][d_model]
  WeightMatrix head;         // [vocab][d_model]; the embedding again if tied
  WeightVector final_norm;
  std::vector<LayerWeights> layers;
  bool tied = false;
  int64_t tiles_bytes = 0;    // of all matrices
  Buffer tiles;               // the matrices, in the order of their use
  std::vector<Buffer> owned;  // vectors
};

// Calls fn with every matrix that inputs are multiplied with, and the name of its tensor.
void each_matrix(const Weights& weights,
                 const std::function<void(const std::string& tensor, const WeightMatrix&)>& fn);

// kBadInput names the tensor and both shapes; kNoResource if the weights don't fit. Packs with
// n_threads threads.
Result<Weights> load_weights(const ModelSpec& spec,
                             const ModelFile& file,
                             WeightMode mode,
                             int32_t n_threads);

// What weights take of memory, in bytes.
struct WeightsMemory {
  int64_t tiles = 0;
  int64_t vectors = 0;
  int64_t file_rows =
      0;  // of an untied embedding: pages of the file, which come in as they are used
};

// The checks of load_weights, and what it would take, without taking it.
Result<WeightsMemory> weights_memory(const ModelSpec& spec, const ModelFile& file, WeightMode mode);

}  // namespace farthing
