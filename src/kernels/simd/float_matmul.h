// The matmul of F32, F16 and BF16 weights with f32 activations: lanes are the rows of a tile.
// Each output is two fma chains over k, of even and of odd k, and their sum: whatever is computed
// beside it. Few tokens take the weights as they come; for many, two vectors of rows are widened to
// a panel of floats that stays in L1, part by part of k, and all tokens go over it, their chains
// waiting beside it in the meantime.
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

  // Tiles [begin, end) for the tokens from `token` on.
  static void few(const MatmulTask& task, int64_t begin, int64_t end, int32_t token) {
    for (int64_t tile = begin; tile < end; ++tile) {
      int32_t t = token;
      for (; t + kMaxTokens <= task.n_tokens; t += kMaxTokens) tokens<kMaxTokens>(task, tile, t);
      for (; t + 2 <= task.n_tokens; t += 2) tokens<2>(task, tile, t);
      if (t < task.n_tokens) tokens<1>(task, tile, t);
    }
  }

  static constexpr int kVectors = 2;
  static constexpr int64_t kTiles = kVectors * V::kLanes / kTileRows;
  static constexpr int kStep = V::kLanes == 16 ? 6 : 3;  // tokens whose chains fill the registers
  static constexpr int64_t kPanelK = 128;                // of k in a panel; even
  static constexpr int32_t kSpan = 96;                   // tokens whose chains stay in L1
  // Tokens that a panel pays for: measured with 256 bits, a guess with 512.
  static constexpr int32_t kFrom = V::kLanes == 16 ? 32 : 16;

  struct Panel {
    alignas(64) float w[kPanelK][kVectors][V::kLanes];
  };
  struct alignas(64) Chains {  // of one token
    float even[kVectors][V::kLanes], odd[kVectors][V::kLanes];
  };

  // kTokens tokens, from act on, against n values of k.
  template <int kTokens>
  [[gnu::noinline]] static void add_panel(
      const Panel& p, int64_t n, const std::byte* act, int64_t stride, Chains* chains) {
    F even[kTokens][kVectors], odd[kTokens][kVectors];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v)
        even[t][v] = V::load(chains[t].even[v]), odd[t][v] = V::load(chains[t].odd[v]);
    }
    const auto x = [&](int t, int64_t k) {
      return V::set1_f(reinterpret_cast<const float*>(act + t * stride)[k]);
    };
    int64_t k = 0;
    for (; k + 2 <= n; k += 2) {
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const F a = x(t, k);
        even[t][0] = V::fma(V::load(p.w[k][0]), a, even[t][0]);
        even[t][1] = V::fma(V::load(p.w[k][1]), a, even[t][1]);
      }
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const F a = x(t, k + 1);
        odd[t][0] = V::fma(V::load(p.w[k + 1][0]), a, odd[t][0]);
        odd[t][1] = V::fma(V::load(p.w[k + 1][1]), a, odd[t][1]);
      }
    }
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        if (k < n) even[t][v] = V::fma(V::load(p.w[k][v]), x(t, k), even[t][v]);
        V::store(chains[t].even[v], even[t][v]);
        V::store(chains[t].odd[v], odd[t][v]);
      }
    }
  }

  // Tokens [begin, end) against the kVectors vectors of rows from `tile` on.
  static void many(const MatmulTask& task, int64_t tile, int32_t begin, int32_t end) {
    alignas(64) Chains chains[kSpan];
    for (int32_t t = 0; t < end - begin; ++t) chains[t] = {};
    const std::byte* w = task.tiles + tile * tile_stride(task.cols);
    const int64_t second = kTiles == 2 ? tile_stride(task.cols) : V::kLanes * Plain::kBytes;
    for (int64_t first = 0; first < task.cols; first += kPanelK) {
      const int64_t n = first + kPanelK < task.cols ? kPanelK : task.cols - first;
      Panel p;
      for (int64_t k = 0; k < n; ++k) {
        const std::byte* line = w + (first + k) * kValueBytes;
        _mm_prefetch(line + kAhead, _MM_HINT_T0);
        if (kTiles == 2) _mm_prefetch(line + second + kAhead, _MM_HINT_T0);
        V::store(p.w[k][0], Plain::template load<V>(line));
        V::store(p.w[k][1], Plain::template load<V>(line + second));
      }
      const std::byte* act =
          task.act + begin * task.act_stride + first * static_cast<int64_t>(sizeof(float));
      int32_t t = 0;
      for (; t + kStep <= end - begin; t += kStep)
        add_panel<kStep>(p, n, act + t * task.act_stride, task.act_stride, chains + t);
      for (; t + kStep / 2 <= end - begin; t += kStep / 2)
        add_panel<kStep / 2>(p, n, act + t * task.act_stride, task.act_stride, chains + t);
      for (; t < end - begin; ++t)
        add_panel<1>(p, n, act + t * task.act_stride, task.act_stride, chains + t);
    }
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const int64_t row = tile * kTileRows + v * V::kLanes;
      const auto wanted = V::first_lanes(task.rows - row);
      for (int32_t t = 0; t < end - begin; ++t) {
        float* out = task.out + (begin + t) * task.out_stride + row;
        F sum = V::add(V::load(chains[t].even[v]), V::load(chains[t].odd[v]));
        if (task.accumulate) sum = V::add(V::load(out, wanted), sum);
        V::store(out, sum, wanted);
      }
    }
  }

  static void run(const MatmulTask& task) {
    if (task.n_tokens < kFrom) return few(task, task.tile_begin, task.tile_end, 0);
    const int64_t end = task.tile_begin + (task.tile_end - task.tile_begin) / kTiles * kTiles;
    for (int32_t token = 0; token < task.n_tokens; token += kSpan) {
      const int32_t token_end = token + kSpan < task.n_tokens ? token + kSpan : task.n_tokens;
      for (int64_t tile = task.tile_begin; tile < end; tile += kTiles)
        many(task, tile, token, token_end);
    }
    few(task, end, task.tile_end, 0);
  }
};

}  // namespace
}  // namespace farthing
