// INT4 in groups, as Hugging Face folders have it: w ~ scale * (q - zero) with q and zero in
// [0, 15], an f16 scale and a zero point per row and group of columns. Three ways to choose them,
// each the better for what it knows:
//   kNearest  the ends of a group become 0 and 15, values are rounded: the plain baseline;
//   kFit      the scale and zero point of least weighted squared error (quant/fit.h);
//   kFeedback those of kFit, weighed by the inputs' squares; then column after column, those with
//             the largest inputs first, is rounded, and the columns to come make up for its error
//             as well as the inputs' correlations allow (GPTQ: Frantar et al. 2022, with fixed
//             groups).
// Rows are independent, their arithmetic has a fixed order: the same bytes for any threads.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/matrix.h"
#include "base/result.h"
#include "base/thread_team.h"

namespace farthing {

enum class Int4Method : uint8_t { kNearest, kFit, kFeedback };

struct Int4Matrix {
  int64_t rows = 0, cols = 0, group = 0;
  std::vector<uint8_t> q;       // [rows][cols]
  std::vector<uint16_t> scale;  // [rows][cols / group], f16
  std::vector<uint8_t> zero;    // [rows][cols / group]

  int64_t groups() const { return cols / group; }
  float value(int64_t r, int64_t c) const;
};

// What the inputs of a matrix were, on a text.
struct Int4Inputs {
  std::span<const float> weights;  // [cols] mean squares; empty: all alike. For kFit.
  Matrix<const float> products;    // [cols][cols] sums of x_i x_j; for kFeedback, which needs them
};

// w[rows][cols]; `group` is 32, 64 or 128 and divides cols. kBadInput for values that are no
// numbers, or too large for an f16 scale.
Result<Int4Matrix> quantize_int4(Matrix<const float> w,
                                 int64_t group,
                                 Int4Method method,
                                 const Int4Inputs& inputs,
                                 ThreadTeam& team);

// Bytes that kFeedback takes for a matrix of so many columns, beside it and the products.
constexpr int64_t feedback_bytes(int64_t cols) {
  return cols * cols * static_cast<int64_t>(2 * sizeof(double) + sizeof(float));
}

}  // namespace farthing
