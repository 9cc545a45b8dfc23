// The Walsh-Hadamard transform of a head, blockwise: orthogonal and its own inverse, so q.k stays
// what it is when both are transformed. It spreads single large values over all, which rounding to
// few bits needs (Ashkboos et al., QuaRot, arXiv:2404.00456).
#pragma once

#include "kernels/attention_task.h"
#include "kernels/simd/exp.h"

namespace farthing {
namespace {

// x[n] in place, in blocks of hadamard_block(n). Every sum is of two values, so every Isa has the
// same bits.
template <class V>
FARTHING_SIMD void hadamard(float* x, int32_t n) {
  using F = typename V::F;
  constexpr int32_t kLanes = V::kLanes;
  const int32_t block = hadamard_block(n);
  const F factor = V::set1_f(1 / __builtin_sqrtf(static_cast<float>(block)));
  const auto within = [&](F v) {
    v = V::mul(v, factor);
    if (block > 1) v = V::template butterfly<1>(v);
    if (block > 2) v = V::template butterfly<2>(v);
    if (block > 4) v = V::template butterfly<4>(v);
    if constexpr (kLanes > 8) {
      if (block > 8) v = V::template butterfly<8>(v);
    }
    return v;
  };
  int32_t i = 0;
  for (; i + kLanes <= n; i += kLanes) V::store(x + i, within(V::load(x + i)));
  if (i < n) {
    const auto some = V::first_lanes(n - i);
    V::store(x + i, within(V::load(x + i, some)), some);
  }
  // Blocks longer than a vector fill whole ones.
  for (int32_t stride = kLanes; stride < block; stride *= 2) {
    for (int32_t first = 0; first < n; first += 2 * stride) {
      for (int32_t j = first; j < first + stride; j += kLanes) {
        const F a = V::load(x + j), b = V::load(x + j + stride);
        V::store(x + j, V::add(a, b));
        V::store(x + j + stride, V::sub(a, b));
      }
    }
  }
}

}  // namespace
}  // namespace farthing
