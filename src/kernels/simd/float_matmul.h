// The matmul of F32, F16 and BF16 weights with f32 activations: rows x tokens of lane sums over k.
// Each output is V::kLanes interleaved fma chains over k, summed by one tree: whatever is computed
// beside it.
#pragma once

#include <cstring>

#include "kernels/kernel_table.h"

namespace farthing {
namespace {

struct PlainF32 {
  static constexpr int64_t kBytes = 4;
  template <class V>
  FARTHING_SIMD typename V::F load(const std::byte* p) {
    return V::load(reinterpret_cast<const float*>(p));
  }
};
struct PlainF16 {
  static constexpr int64_t kBytes = 2;
  template <class V>
  FARTHING_SIMD typename V::F load(const std::byte* p) {
    return V::load_f16(p);
  }
};
struct PlainBF16 {
  static constexpr int64_t kBytes = 2;
  template <class V>
  FARTHING_SIMD typename V::F load(const std::byte* p) {
    return V::load_bf16(p);
  }
};

// The first n < V::kLanes values at p, zeroes after them.
template <class V, class Plain>
FARTHING_SIMD typename V::F load_tail(const std::byte* p, int64_t n) {
  alignas(64) std::byte padded[64] = {};
  std::memcpy(padded, p, static_cast<size_t>(n * Plain::kBytes));
  return Plain::template load<V>(padded);
}

template <class V, class Plain>
struct FloatMatmul {
  using F = typename V::F;

  template <int kRows, int kTokens>
  [[gnu::noinline]] static int32_t tokens(const MatmulTask& task, int64_t row, int32_t token) {
    const std::byte* w = task.weights + row * task.row_bytes;
    for (; token + kTokens <= task.n_tokens; token += kTokens) {
      const std::byte* x = task.act + token * task.act_stride;
      F acc[kRows][kTokens];
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) acc[r][t] = V::zero_f();
      }
      int64_t k = 0;
      for (; k + V::kLanes <= task.cols; k += V::kLanes) {
        F values[kTokens];
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t)
          values[t] = V::load(reinterpret_cast<const float*>(x + t * task.act_stride) + k);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) {
          const F weights = Plain::template load<V>(w + r * task.row_bytes + k * Plain::kBytes);
#pragma GCC unroll 4
          for (int t = 0; t < kTokens; ++t) acc[r][t] = V::fma(weights, values[t], acc[r][t]);
        }
      }
      const int64_t rest = task.cols - k;
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) {
          if (rest > 0) {
            const F weights = load_tail<V, Plain>(w + r * task.row_bytes + k * Plain::kBytes, rest);
            acc[r][t] = V::fma(
                weights, load_tail<V, PlainF32>(x + t * task.act_stride + k * 4, rest), acc[r][t]);
          }
          task.out[(token + t) * task.out_stride + row + r] = V::sum(acc[r][t]);
        }
      }
    }
    return token;
  }

  template <int kRows>
  static void rows(const MatmulTask& task, int64_t row) {
    int32_t token = 0;
    token = tokens < kRows, V::kLanes == 16 ? 4 : 2 > (task, row, token);
    tokens<kRows, 1>(task, row, token);
  }

  static void run(const MatmulTask& task) {
    int64_t row = task.row_begin;
    for (; row + 4 <= task.row_end; row += 4) rows<4>(task, row);
    for (; row < task.row_end; ++row) rows<1>(task, row);
  }
};

}  // namespace
}  // namespace farthing
