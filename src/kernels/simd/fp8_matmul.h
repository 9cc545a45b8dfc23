// The matmul of FP8 weights with f32 activations: lanes are the rows of a tile. An e4m3 is a float
// of eight bits, so nothing is rounded but the sums: per block of 128 values two fma chains over k,
// of even and of odd k; then, in the order of k, acc = fma(scale, their sum, acc).
#pragma once

#include "kernels/kernel_table.h"
#include "kernels/simd/tile_formats.h"
#include "quant/layout.h"
#include "quant/tile.h"

namespace farthing {
namespace {

template <class V>
struct FP8Matmul {
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int64_t kValues = sizeof(QBlockFP8::q);
  static constexpr int64_t kUnitBytes = kTileRows * sizeof(QBlockFP8);
  static constexpr int kMaxTokens = V::kLanes == 16 ? 8 : 4;
  static constexpr int64_t kAhead = 6144;

  // Byte kByte of each lane, an e4m3, divided by 256: with its four bits of exponent in the place
  // of the five that an f16 has (base/half.h).
  template <int kByte>
  FARTHING_SIMD F value(I w) {
    const I byte = V::template shr<8 * kByte>(w);
    const I sign = V::template shl<8>(V::bit_and(byte, V::set1(0x80)));
    const I magnitude = V::template shl<7>(V::bit_and(byte, V::set1(0x7f)));
    return V::f16_low(V::bit_or(sign, magnitude));
  }

  template <int kTokens>
  [[gnu::noinline]] static void tokens(const MatmulTask& task, int64_t tile, int32_t token) {
    const int64_t n_units = task.cols / kValues;
    const std::byte* x = task.act + token * task.act_stride;
#pragma GCC unroll 1
    for (int64_t lane = 0; lane < kTileRows; lane += V::kLanes) {
      const std::byte* unit = task.tiles + tile * n_units * kUnitBytes + lane * 4;
      F acc[kTokens];
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) acc[t] = V::zero_f();
      int64_t k = 0;
      for (int64_t u = 0; u < n_units; ++u, unit += kUnitBytes) {
        F even[kTokens], odd[kTokens];
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) even[t] = odd[t] = V::zero_f();
        const std::byte* p = unit + 4 * kTileRows;
#pragma GCC unroll 1
        for (int j = 0; j < kValues / 4; ++j, p += 4 * kTileRows, k += 4) {
          _mm_prefetch(p + kAhead, _MM_HINT_T0);
          const I w = V::load_line(p);
          const F w0 = value<0>(w), w1 = value<1>(w), w2 = value<2>(w), w3 = value<3>(w);
#pragma GCC unroll 8
          for (int t = 0; t < kTokens; ++t) {
            const float* a = reinterpret_cast<const float*>(x + t * task.act_stride) + k;
            even[t] = V::fma(w0, V::set1_f(a[0]), even[t]);
            odd[t] = V::fma(w1, V::set1_f(a[1]), odd[t]);
            even[t] = V::fma(w2, V::set1_f(a[2]), even[t]);
            odd[t] = V::fma(w3, V::set1_f(a[3]), odd[t]);
          }
        }
        const F scale = V::mul(V::as_float(V::load_line(unit)), V::set1_f(256.0f));
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) acc[t] = V::fma(scale, V::add(even[t], odd[t]), acc[t]);
      }
      const int64_t row = tile * kTileRows + lane;
      const auto wanted = V::first_lanes(task.rows - row);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        float* out = task.out + (token + t) * task.out_stride + row;
        F sum = acc[t];
        if (task.accumulate) sum = V::add(V::load(out, wanted), sum);
        V::store(out, sum, wanted);
      }
    }
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
