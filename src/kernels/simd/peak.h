// The loops of kernels/peak.h for one Isa.
#pragma once

#include "kernels/peak.h"

namespace farthing {
namespace {

template <class V>
struct PeakLoops {
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int kChains =
      V::kLanes == 16 ? 16 : 10;          // latency 5 times two ports, within the registers
  static constexpr int64_t kUnit = 4096;  // steps per round

  // The fewest instructions that a kernel could need for four products per lane: without VNNI,
  // those that widen to int32 can be made as rare as one likes.
  FARTHING_SIMD I add_dot(I acc, I w, const int8_t* a) {
    if constexpr (V::kVnni) return V::dot_unsigned(acc, w, a);
    return V::add_pairs(acc, V::pair_products(w, a));
  }

  static int64_t int8_dot(int64_t rounds) {
    alignas(64) int8_t act[4 * kChains];
    for (int i = 0; i < 4 * kChains; ++i) act[i] = static_cast<int8_t>(i);
    I weights = V::set1_bytes(3);
    I chain[kChains];
#pragma GCC unroll 16
    for (int j = 0; j < kChains; ++j) chain[j] = V::zero();
    for (int64_t r = 0; r < rounds * kUnit; ++r) {
      __asm__("" : "+v"(weights));  // or its products would move out of the loop
#pragma GCC unroll 16
      for (int j = 0; j < kChains; ++j) chain[j] = add_dot(chain[j], weights, act + 4 * j);
    }
#pragma GCC unroll 16
    for (int j = 0; j < kChains; ++j) __asm__ volatile("" : : "v"(chain[j]));
    return rounds * kUnit * kChains * V::kLanes * 8;
  }

  static int64_t f32_fma(int64_t rounds) {
    const F half = V::set1_f(0.5f);
    F chain[kChains];
#pragma GCC unroll 16
    for (int j = 0; j < kChains; ++j)
      chain[j] = V::set1_f(static_cast<float>(j));  // or they'd be one
    for (int64_t r = 0; r < rounds * kUnit; ++r) {
#pragma GCC unroll 16
      for (int j = 0; j < kChains; ++j) chain[j] = V::fma(chain[j], half, half);
    }
#pragma GCC unroll 16
    for (int j = 0; j < kChains; ++j) __asm__ volatile("" : : "v"(chain[j]));
    return rounds * kUnit * kChains * V::kLanes * 2;
  }

  static uint64_t read(const std::byte* data, int64_t bytes, int64_t ahead) {
    constexpr int kVectors = 16 / V::kLanes;  // of a cache line
    I sum[4 * kVectors];
#pragma GCC unroll 8
    for (int j = 0; j < 4 * kVectors; ++j) sum[j] = V::zero();
    for (int64_t i = 0; i + 256 <= bytes; i += 256) {
#pragma GCC unroll 4
      for (int line = 0; line < 4; ++line) {
        if (ahead > 0) _mm_prefetch(data + i + 64 * line + ahead, _MM_HINT_T0);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) {
          const auto* p = reinterpret_cast<const float*>(data + i + 64 * line) + v * V::kLanes;
          sum[line * kVectors + v] = V::add(sum[line * kVectors + v], V::as_int(V::load(p)));
        }
      }
    }
    uint64_t total = 0;
    for (int j = 0; j < 4 * kVectors; ++j) total += static_cast<uint32_t>(V::sum(sum[j]));
    return total;
  }

  static constexpr PeakKernels kFns = {int8_dot, f32_fma, read};
};

}  // namespace
}  // namespace farthing
