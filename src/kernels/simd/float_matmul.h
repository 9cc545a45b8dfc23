// The matmul of F32, F16 and BF16 weights with f32 activations: lanes are the rows of a tile.
// Each output is two fma chains over k, of even and of odd k, and their sum: whatever is computed
// beside it.
#pragma once

#include "kernels/kernel_table.h"
#include "quant/tile.h"

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

template <class V, class Plain>
struct FloatMatmul {
  using F = typename V::F;
  static constexpr int64_t kValueBytes = kTileRows * Plain::kBytes;  // of one k
  static constexpr int kMaxTokens = V::kLanes == 16 ? 8 : 4;
  static constexpr int64_t kAhead = 6144;

  template <int kTokens>
  [[gnu::noinline]] static void tokens(const MatmulTask& task, int64_t tile, int32_t token) {
    const std::byte* w = task.tiles + tile * tile_stride(task.cols);
    const std::byte* x = task.act + token * task.act_stride;
#pragma GCC unroll 1
    for (int64_t lane = 0; lane < kTileRows; lane += V::kLanes) {
      F even[kTokens], odd[kTokens];
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) even[t] = odd[t] = V::zero_f();
      const std::byte* p = w + lane * Plain::kBytes;
      int64_t k = 0;
      for (; k + 2 <= task.cols; k += 2, p += 2 * kValueBytes) {
        _mm_prefetch(p + kAhead, _MM_HINT_T0);
        if (Plain::kBytes == 4) _mm_prefetch(p + kAhead + 64, _MM_HINT_T0);
        const F w0 = Plain::template load<V>(p), w1 = Plain::template load<V>(p + kValueBytes);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          const float* a = reinterpret_cast<const float*>(x + t * task.act_stride) + k;
          even[t] = V::fma(w0, V::set1_f(a[0]), even[t]);
          odd[t] = V::fma(w1, V::set1_f(a[1]), odd[t]);
        }
      }
      const int64_t row = tile * kTileRows + lane;
      const auto wanted = V::first_lanes(task.rows - row);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        if (k < task.cols) {
          const float* a = reinterpret_cast<const float*>(x + t * task.act_stride) + k;
          even[t] = V::fma(Plain::template load<V>(p), V::set1_f(a[0]), even[t]);
        }
        float* out = task.out + (token + t) * task.out_stride + row;
        F sum = V::add(even[t], odd[t]);
        if (task.accumulate) sum = V::add(V::load(out, wanted), sum);
        V::store(out, sum, wanted);
      }
    }
  }
  FARTHING_SIMD int64_t tile_stride(int64_t cols) {
    return (cols * kValueBytes + 63) / 64 * 64;  // as tile_bytes()
  }

  static void run(const MatmulTask& task) {
    for (int64_t tile = task.tile_begin; tile < task.tile_end; ++tile) {
      int32_t token = 0;
      for (; token + kMaxTokens <= task.n_tokens; token += kMaxTokens)
        tokens<kMaxTokens>(task, tile, token);
      for (; token + 2 <= task.n_tokens; token += 2) tokens<2>(task, tile, token);
      if (token < task.n_tokens) tokens<1>(task, tile, token);
    }
  }
};

}  // namespace
}  // namespace farthing
