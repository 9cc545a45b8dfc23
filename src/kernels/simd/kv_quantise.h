// A head's K or V to int8 or int4 (kv_type.h says which numbers), and those to their places in a
// plane. Largest and smallest values don't depend on an order, so every Isa stores the same bytes.
#pragma once

#include <cstring>

#include "base/half.h"
#include "kernels/kv_type.h"
#include "kernels/simd/hadamard.h"

namespace farthing {
namespace {

template <class V, KVType kType>
struct KVQuantise {
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int32_t kLanes = V::kLanes;
  static constexpr int32_t kChannels = kv_scale_channels(kType);
  static constexpr float kLow = kType == KVType::kInt8 ? -127 : -8;
  static constexpr float kHigh = kType == KVType::kInt8 ? 127 : 7;

  static void store_k(const float* x, int32_t n, std::byte* plane, int32_t slot) {
    const KVQuantise head(x, n);
    head.store_scales(n, plane + kv_k_plane(kType, n).scales_at, slot);
    if constexpr (kType == KVType::kInt8) {
      for (int32_t i = 0; i < n; ++i)
        std::memcpy(plane + int64_t{i} * kKVBlockTokens + slot, head.q_ + i, 1);
    } else {
      for (int32_t i = 0; i < n; i += 2)
        plane[int64_t{i / 2} * kKVBlockTokens + slot] = both(head.q_[i], head.q_[i + 1]);
    }
  }
  static void store_v(const float* x, int32_t n, std::byte* plane, int32_t slot) {
    const KVQuantise head(x, n);
    const KVPlane layout = kv_v_plane(kType, n);
    head.store_scales(n, plane + layout.scales_at, slot);
    std::byte* row = plane + slot * layout.row_bytes;
    if constexpr (kType == KVType::kInt8) {
      std::memcpy(row, head.q_, static_cast<size_t>(n));
    } else {
      for (int32_t piece = 0; piece < n; piece += kInt4Piece)
        for (int32_t i = piece; i < piece + kInt4Piece / 2; ++i)
          *row++ = both(head.q_[i], head.q_[i + kInt4Piece / 2]);
    }
  }

 private:
  KVQuantise(const float* head, int32_t n) {
    alignas(64) float x[kMaxHeadDim];
    std::memcpy(x, head, static_cast<size_t>(n) * sizeof(float));
    hadamard<V>(x, n);
    for (int32_t c = 0; c < n; c += kChannels)
      scales_[c / kChannels] = quantise(x + c, n - c < kChannels ? n - c : kChannels, q_ + c);
    std::memset(q_ + n, 0, sizeof q_ - static_cast<size_t>(n));
  }

  // Calls fn(index, mask) for the vectors of n floats.
  template <class Fn>
  FARTHING_SIMD void for_vectors(int32_t n, Fn fn) {
    for (int32_t i = 0; i < n; i += kLanes) fn(i, V::first_lanes(n - i));
  }
  // Values of one scale, which comes back; with an infinity or NaN among them it is NaN. Writes
  // whole vectors.
  static uint16_t quantise(const float* x, int32_t n, int8_t* out) {
    I magnitudes = V::zero();
    F highest = V::zero_f();
    for_vectors(n, [&](int32_t i, auto mask) {
      const F v = V::load(x + i, mask);
      magnitudes = V::max_unsigned(magnitudes, V::bit_and(V::as_int(v), V::set1(0x7fffffff)));
      highest = V::max(highest, v);
    });
    const uint32_t bits = V::largest_unsigned(magnitudes);
    if (bits >= 0x7f800000u) {
      std::memset(out, 0, static_cast<size_t>(n));
      return 0x7e00;
    }
    float amax;
    std::memcpy(&amax, &bits, sizeof amax);
    const uint16_t scale = scale_of(amax, V::largest(highest) == amax);
    const F inverse = V::set1_f((scale & 0x7fff) == 0 ? 0 : 1 / f16_to_f32(scale));
    for_vectors(n, [&](int32_t i, auto mask) {
      const F scaled = V::mul(V::load(x + i, mask), inverse);
      const F bounded = V::min(V::max(scaled, V::set1_f(kLow)), V::set1_f(kHigh));
      V::store_low_bytes(out + i, V::round_to_int(bounded));
    });
    return scale;
  }
  FARTHING_SIMD uint16_t scale_of(float amax, bool above) {
    if constexpr (kType == KVType::kInt4) return f32_to_f16((above ? amax : -amax) / -8);
    const uint16_t scale = f32_to_f16(amax / 127);
    return static_cast<uint16_t>(scale + (f16_to_f32(scale) < amax / 127 ? 1 : 0));
  }

  void store_scales(int32_t n, std::byte* scales, int32_t slot) const {
    for (int32_t g = 0; g < kv_scale_groups(kType, n); ++g)
      std::memcpy(scales + 2 * (g * kKVBlockTokens + slot), scales_ + g, sizeof scales_[g]);
  }
  FARTHING_SIMD std::byte both(int8_t lower, int8_t upper) {
    return static_cast<std::byte>((lower + 8) | (upper + 8) << 4);
  }

  alignas(64) int8_t q_[kMaxHeadDim + kInt4Piece];  // 0 behind the head
  uint16_t scales_[kMaxHeadDim / kChannels];
};

}  // namespace
}  // namespace farthing
