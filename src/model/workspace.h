// Workspace: every intermediate of one forward pass, allocated once. Rows are the batch's tokens.
// Invariant: nothing is allocated after create(); a batch never exceeds max_tokens and max_logits.
#pragma once

#include <cstdint>
#include <vector>

#include "base/buffer.h"
#include "base/matrix.h"
#include "core/batch.h"
#include "model/linear.h"
#include "model/spec.h"

namespace farthing {

// One row of a batch, flattened.
struct TokenRow {
  const Sequence* sequence = nullptr;
  int32_t position = 0;
};

struct Workspace {
  static Result<Workspace> create(const ModelSpec& spec, int32_t max_tokens, int32_t max_logits);
  static int64_t bytes_needed(const ModelSpec& spec, int32_t max_tokens, int32_t max_logits);

  std::vector<TokenRow> rows;  // of the batch at hand
  Matrix<float> residual;      // [max_tokens][d_model]
  Matrix<float> normed;        // [max_tokens][d_model]
  Matrix<float> q, k, v;       // [max_tokens][widest layer's heads * head_dim]
  Matrix<float> mixed;         // attention's output, as wide as q
  Matrix<float> gate, up;      // [max_tokens][widest d_ff]
  Matrix<float> delta;         // what mixer or ffn adds to the residual, [max_tokens][d_model]
  Matrix<float> angles;        // [max_tokens][sum of the ropes' dims]
  Matrix<float> logits;        // [max_logits][vocab]
  Linear linear;
  Buffer buffer;  // all of the above
};

}  // namespace farthing
