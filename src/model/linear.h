// Matrix products of activations with weights: packs the activations once per layout that the
// weights ask for, then shares the rows of all products among the threads.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/buffer.h"
#include "base/matrix.h"
#include "base/result.h"
#include "model/exec.h"
#include "model/weights.h"

namespace farthing {

struct Projection {
  const WeightMatrix* weight = nullptr;  // [rows][cols]
  WeightVector bias;                     // [rows], or empty
  Matrix<float> out;                     // [n_tokens][rows]
};

class Linear {
 public:
  // Room for activations of max_tokens x max_cols.
  static Result<Linear> create(int64_t max_tokens, int64_t max_cols);
  static int64_t bytes_needed(int64_t max_tokens, int64_t max_cols);

  // out = x * weight^T + bias for every projection; all have x.cols columns.
  void apply(const Exec& exec, Matrix<const float> x, std::span<const Projection> projections);

 private:
  // Packed activations by ActFormat; kF32 needs none.
  std::array<Buffer, kActFormatCount> packed_;
};

}  // namespace farthing
