// Row functions: packing activations, storing K and V, norms and activation functions.
#pragma once

#include <cstring>

#include "core/block_table.h"
#include "kernels/act.h"
#include "kernels/attention_task.h"
#include "kernels/simd/exp.h"

namespace farthing {
namespace {

template <class V>
struct RowKernels {
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int64_t kLanes = V::kLanes;

  // ---- packing ----

  static void pack_q8_32(const float* x, int64_t cols, std::byte* out, int64_t group_stride) {
    for (int64_t g = 0; g < cols / kActGroup; ++g, out += group_stride)
      pack_group(x + g * kActGroup, *reinterpret_cast<ActGroup*>(out));
  }
  FARTHING_SIMD void pack_group(const float* x, ActGroup& out) {
    constexpr int kVectors = static_cast<int>(kActGroup / kLanes);
    const I magnitude = V::set1(0x7fffffff);
    F v[kVectors];
    I largest = V::zero();
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      v[i] = V::load(x + i * kLanes);
      largest = V::max_unsigned(largest, V::bit_and(V::as_int(v[i]), magnitude));
    }
    const uint32_t bits =
        V::largest_unsigned(largest);  // as integers, infinity and NaN are the largest
    float amax;
    std::memcpy(&amax, &bits, sizeof amax);
    if (bits >= 0x7f800000u || amax < kActTiny) return pack_special(bits >= 0x7f800000u, out);
    const F inverse = V::set1_f(127 / amax);  // times amax rounds to 127 at most
    I q[kVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) q[i] = V::round_to_int(V::mul(v[i], inverse));
    const __m256i bytes = V::low_bytes(q);
    _mm256_store_si256(reinterpret_cast<__m256i*>(out.q), bytes);
    put_sums(bytes, amax / 127, out);
  }
  // Everything of a group behind its q, which is one vector.
  FARTHING_SIMD void put_sums(__m256i q, float scale, ActGroup& out) {
    static_assert(offsetof(ActGroup, scale) == 32 && offsetof(ActGroup, start_8) == 48);
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), q);
    const __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    const __m256i twos = _mm256_hadd_epi32(fours, fours);
    const __m256i halves = _mm256_hadd_epi32(twos, twos);  // low in lanes 0 to 3, high in 4 to 7
    const __m256i swapped = _mm256_permute2x128_si256(halves, halves, 1);
    const __m256i total = _mm256_add_epi32(halves, swapped);
    // 1, total, low, high, total, total, low, high
    __m256i x = _mm256_blend_epi32(total, halves, 0b10000100);
    x = _mm256_blend_epi32(x, swapped, 0b01001000);
    x = _mm256_blend_epi32(x, _mm256_set1_epi32(1), 0b00000001);
    const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(x), _mm256_set1_ps(scale));
    const __m256i starts = _mm256_mullo_epi32(x, _mm256_setr_epi32(0, 0, 0, 0, -8, -128, -32, -32));
    _mm256_store_si256(reinterpret_cast<__m256i*>(&out.scale),
                       _mm256_blend_epi32(_mm256_castps_si256(scaled), starts, 0b11110000));
  }
  static void pack_special(bool not_finite, ActGroup& out) {
    std::memset(&out, 0, sizeof out);
    if (not_finite) out.scale = out.sum = out.sum_low = out.sum_high = __builtin_nanf("");
  }

  // ---- K and V ----

  static void store_f32(const float* x, int64_t n, std::byte* out) {
    std::memcpy(out, x, static_cast<size_t>(n) * sizeof(float));
  }
  static void store_f16(const float* x, int64_t n, std::byte* out) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) V::store_f16(out + 2 * i, V::load(x + i));
    if (i < n) {
      alignas(64) std::byte halves[2 * kLanes];
      V::store_f16(halves, V::load(x + i, V::first_lanes(n - i)));
      std::memcpy(out + 2 * i, halves, static_cast<size_t>(2 * (n - i)));
    }
  }
  static void store_bf16(const float* x, int64_t n, std::byte* out) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) V::store_low_halves(out + 2 * i, to_bf16(V::load(x + i)));
    if (i < n) {
      alignas(64) std::byte halves[2 * kLanes];
      V::store_low_halves(halves, to_bf16(V::load(x + i, V::first_lanes(n - i))));
      std::memcpy(out + 2 * i, halves, static_cast<size_t>(2 * (n - i)));
    }
  }
  // In their slot of a V plane, one after the other.
  template <int64_t kBytes, void (*kStore)(const float*, int64_t, std::byte*)>
  static void store_row(const float* x, int32_t n, std::byte* plane, int32_t slot) {
    kStore(x, n, plane + int64_t{slot} * n * kBytes);
  }
  // In their slot of a K plane, kKVBlockTokens apart.
  template <class Bits, void (*kStore)(const float*, int64_t, std::byte*)>
  static void store_column(const float* x, int32_t n, std::byte* plane, int32_t slot) {
    constexpr int64_t kPiece = 64;
    alignas(64) Bits values[kPiece];
    std::byte* out = plane + int64_t{slot} * static_cast<int64_t>(sizeof(Bits));
    for (int64_t begin = 0; begin < n; begin += kPiece) {
      const int64_t count = n - begin < kPiece ? n - begin : kPiece;
      kStore(x + begin, count, reinterpret_cast<std::byte*>(values));
      for (int64_t i = 0; i < count; ++i) {
        std::memcpy(out + (begin + i) * kKVBlockTokens * static_cast<int64_t>(sizeof(Bits)),
                    values + i,
                    sizeof(Bits));
      }
    }
  }
  // To nearest, ties to even; NaNs keep their upper bits and become quiet.
  FARTHING_SIMD I to_bf16(F x) {
    const I bits = V::as_int(x);
    const I odd = V::bit_and(V::template shr<16>(bits), V::set1(1));
    const I rounded = V::template shr<16>(V::add(V::add(bits, V::set1(0x7fff)), odd));
    const I nan = V::bit_or(V::template shr<16>(bits), V::set1(0x40));
    const I magnitude = V::bit_and(bits, V::set1(0x7fffffff));
    return V::less_or(V::set1(0x7f800000), magnitude, nan, rounded);
  }

  // ---- rows of floats ----

  // Calls fn(vector index i, mask or none) over n floats; the last one masked.
  template <class Fn>
  FARTHING_SIMD void for_vectors(int64_t n, Fn fn) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      fn([i](const float* p) { return V::load(p + i); },
         [i](float* p, F v) { V::store(p + i, v); });
    }
    if (i < n) {
      const auto mask = V::first_lanes(n - i);
      fn([i, mask](const float* p) { return V::load(p + i, mask); },
         [i, mask](float* p, F v) { V::store(p + i, v, mask); });
    }
  }

  static void rope(const float* cos, const float* sin, int64_t n, bool adjacent, float* x) {
    if (adjacent) return rope_adjacent(cos, sin, n, x);
    for_vectors(n, [&](auto load, auto store) {
      const F a = load(x), b = load(x + n), c = load(cos), s = load(sin);
      store(x, V::sub(V::mul(a, c), V::mul(b, s)));
      store(x + n, V::fma(a, s, V::mul(b, c)));
    });
  }
  static void rope_adjacent(const float* cos, const float* sin, int64_t n, float* x) {
    for (int64_t i = 0; i < n; i += kLanes) {  // pairs
      const auto angles = V::first_lanes(n - i);
      const F c = V::load(cos + i, angles), s = V::load(sin + i, angles);
      const auto rotate = [&](float* pairs, int64_t values, F cc, F ss) {
        const auto there = V::first_lanes(values);
        const F v = V::load(pairs, there);
        V::store(pairs, V::fma_alternate(v, cc, V::mul(V::swap_pairs(v), ss)), there);
      };
      const int64_t values = 2 * (n - i);
      rotate(x + 2 * i, values, V::twice_low(c), V::twice_low(s));
      if (values > kLanes) {
        rotate(x + 2 * i + kLanes, values - kLanes, V::twice_high(c), V::twice_high(s));
      }
    }
  }

  static void rms_norm(const float* x, const float* gain, int64_t n, float eps, float* out) {
    F squares = V::zero_f();
    for_vectors(n, [&](auto load, auto) {
      const F v = load(x);
      squares = V::fma(v, v, squares);
    });
    const float mean = V::sum(squares) / static_cast<float>(n);
    const F factor = V::set1_f(1 / __builtin_sqrtf(mean + eps));
    for_vectors(
        n, [&](auto load, auto store) { store(out, V::mul(V::mul(load(x), factor), load(gain))); });
  }

  static void silu_mul(const float* gate, const float* up, int64_t n, float* out) {
    const F one = V::set1_f(1.0f);
    for_vectors(n, [&](auto load, auto store) {
      const F x = load(gate);
      const F sigmoid_inverse = V::add(one, exp<V>(V::sub(V::zero_f(), x)));
      store(out, V::mul(V::div(x, sigmoid_inverse), load(up)));
    });
  }

  // 0.5 x (1 + tanh(y)) = x / (1 + exp(-2y)): no cancellation.
  static void gelu_mul(const float* gate, const float* up, int64_t n, float* out) {
    const F one = V::set1_f(1.0f);
    const F minus_two_root = V::set1_f(-2 * 0.79788456080286536f);  // -2 sqrt(2 / pi)
    for_vectors(n, [&](auto load, auto store) {
      const F x = load(gate);
      const F cube = V::mul(V::mul(x, x), x);
      const F inner = V::fma(cube, V::set1_f(0.044715f), x);
      const F denominator = V::add(one, exp<V>(V::mul(minus_two_root, inner)));
      store(out, V::mul(V::div(x, denominator), load(up)));
    });
  }

  static void add(const float* x, int64_t n, float* inout) {
    for_vectors(n, [&](auto load, auto store) { store(inout, V::add(load(inout), load(x))); });
  }

  static void soft_cap(float cap, int64_t n, float* inout) {
    const F c = V::set1_f(cap);
    for_vectors(n, [&](auto load, auto store) {
      store(inout, V::mul(c, tanh<V>(V::div(load(inout), c))));
    });
  }
};

}  // namespace
}  // namespace farthing
