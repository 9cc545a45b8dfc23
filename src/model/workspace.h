// Workspace: every intermediate of one forward pass, allocated once. Rows are the batch's tokens.
// Invariant: nothing is allocated after create(); a batch never exceeds max_tokens and max_logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "base/matrix.h"
#include "core/batch.h"
#include "model/linear.h"
#include "model/spec.h"
#include "model/token_row.h"

namespace farthing {

struct Workspace {
  static Result<Workspace> create(const ModelSpec& spec, int32_t max_tokens, int32_t max_logits);
  static int64_t bytes_needed(const ModelSpec& spec, int32_t max_tokens, int32_t max_logits);

  std::vector<TokenRow> rows;  // of the batch at hand
  Matrix<float> residual;      // [max_tokens][d_model]
  Matrix<float> normed;        // [max_tokens][d_model]
  Matrix<float> q, k, v;       // [max_tokens][widest layer's heads * head_dim]
  Matrix<float> mixed;         // attention's output, as wide as q
  Matrix<float> gate, up;      // [max_tokens][widest d_ff]
  Matrix<float> delta;         // [max_tokens][d_model], models with post-norms: see below
  Matrix<float> angles;        // [max_tokens][sum of the ropes' dims]
  Matrix<float> logits;        // [max_logits][vocab]
  Activations input;           // of the projections at hand
  Activations hidden;          // of the down projection, made while `input` is still read
  Buffer buffer;               // all matrices above
};

// How a mixer or ffn gets its input from the residual stream, and where its output goes: straight
// to the residual, or to `delta`, which the next input absorbs. To delta if the model norms it
// first or has a bias there (so that the order of sums never differs), and if there are
// kManyTokens: kernels for those don't add to what is there.
struct Residual {
  bool pending = false;       // something lies in delta
  WeightVector pending_norm;  // its norm; may be empty
  WeightVector norm;          // of the input
  float eps = 0;
  bool to_delta = false;

  // The block's output has been computed; `post_norm` of it, or empty.
  void output_done(WeightVector post_norm) {
    pending = to_delta;
    pending_norm = post_norm;
  }
};

// residual += delta, normed, if that is pending, for one token.
void absorb_delta(const Exec& exec, const Residual& residual, int64_t token, Workspace& ws);

// ws.normed and ws.input for these projections, from the residual stream.
void load_input(const Exec& exec,
                const Residual& residual,
                std::span<const Projection> projections,
                Workspace& ws);

// The projection of a block's output, from ws.input or ws.hidden.
Projection output_projection(const Residual& residual,
                             const WeightMatrix& weight,
                             WeightVector bias,
                             const Workspace& ws);

}  // namespace farthing
