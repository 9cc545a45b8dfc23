// Matrix products of activations with weights. The activations are packed once in every layout that
// the weights at hand ask for, by the pass over the tokens that makes them; then the tiles of all
// products are shared among the threads.
#pragma once

#include <cstdint>
#include <span>

#include "base/buffer.h"
#include "base/matrix.h"
#include "base/result.h"
#include "kernels/act.h"
#include "model/exec.h"
#include "model/spec.h"
#include "model/weights.h"

namespace farthing {

struct Projection {
  const WeightMatrix* weight = nullptr;  // [rows][cols]
  WeightVector bias;                     // [rows], or empty
  Matrix<float> out;                     // [n_tokens][rows]
  bool add = false;                      // to out; not with a bias
};

// The input of one or more projections: f32 rows and, where a weight type asks for it, the same as
// int8 groups.
class Activations {
 public:
  // Room for max_tokens x max_cols packed values.
  static Result<Activations> create(int64_t max_tokens, int64_t max_cols);
  static int64_t bytes_needed(int64_t max_tokens, int64_t max_cols);

  // A new input: n_tokens rows of `rows`, for these weights. put() then brings each part of it.
  void start(const Exec& exec, Matrix<const float> rows, std::span<const Projection> projections);
  // Values [begin, end) of a token's row are final; both are multiples of 32, or the row's end.
  // Any thread, each part once.
  void put(int64_t token, int64_t begin, int64_t end);

  Matrix<const float> rows() const { return rows_; }
  const std::byte* packed() const { return packed_.data(); }

 private:
  void (*pack_)(const float* x, int64_t cols, std::byte* out, int64_t group_stride) = nullptr;
  Matrix<const float> rows_;
  bool wants_groups_ = false;
  Buffer packed_;
};

// Up to so many tokens, passes over the tokens are made by the calling thread: they take less time
// than waking the others.
inline constexpr int64_t kAloneTokens = 4;

// Calls fn(token) for each of n_tokens.
template <class Fn>
void for_tokens(const Exec& exec, int64_t n_tokens, Fn&& fn) {
  const auto body = [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) fn(t);
  };
  if (n_tokens <= kAloneTokens) {
    body(0, n_tokens);
  } else {
    exec.team->parallel_for(n_tokens, 1, body);
  }
}

// Tiles [begin, end) of x * weight^T, to out: [n_tokens][kTileRows * (end - begin)].
void multiply_tiles(const Exec& exec,
                    const Activations& x,
                    const WeightMatrix& weight,
                    int64_t begin,
                    int64_t end,
                    Matrix<float> out);

// out = x * weight^T + bias, or out + that, for every projection; x has been put().
void multiply(const Exec& exec, const Activations& x, std::span<const Projection> projections);

// gated = activation(gate(x)) * up(x), put into `next` (started with rows = gate.out) as it comes.
void multiply_gated(const Exec& exec,
                    const Activations& x,
                    const Projection& gate,
                    const Projection& up,
                    DenseFfnSpec::Activation activation,
                    Activations& next);

}  // namespace farthing
