// V256: eight 32-bit lanes with AVX2, FMA and F16C, and VPDPBUSD where the file is compiled with
// AVX-VNNI. The same vocabulary as v512.h, where each word is explained.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#define FARTHING_SIMD [[gnu::always_inline]] static inline

namespace farthing {
namespace {

struct V256 {
  using I = __m256i;
  using F = __m256;
  using Mask = __m256i;
  static constexpr int kLanes = 8;
  static constexpr int kMaxTokens = 4;
#ifdef __AVXVNNI__
  static constexpr bool kVnni = true;
#else
  static constexpr bool kVnni = false;
#endif

  // ---- integers ----
  FARTHING_SIMD I zero() { return _mm256_setzero_si256(); }
  FARTHING_SIMD I set1(int32_t x) { return _mm256_set1_epi32(x); }
  FARTHING_SIMD I set1_bytes(int x) { return _mm256_set1_epi8(static_cast<char>(x)); }
  FARTHING_SIMD I broadcast(const void* p) {
    return _mm256_set1_epi32(_mm_cvtsi128_si32(_mm_loadu_si32(p)));
  }
  FARTHING_SIMD I load16_repeated(const void* p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  }
  FARTHING_SIMD I bit_and(I a, I b) { return _mm256_and_si256(a, b); }
  FARTHING_SIMD I bit_or(I a, I b) { return _mm256_or_si256(a, b); }
  FARTHING_SIMD I bit_xor(I a, I b) { return _mm256_xor_si256(a, b); }
  FARTHING_SIMD I add(I a, I b) { return _mm256_add_epi32(a, b); }
  FARTHING_SIMD I sub(I a, I b) { return _mm256_sub_epi32(a, b); }
  FARTHING_SIMD I max_unsigned(I a, I b) { return _mm256_max_epu32(a, b); }
  template <int kBits>
  FARTHING_SIMD I shl(I a) {
    return _mm256_slli_epi32(a, kBits);
  }
  template <int kBits>
  FARTHING_SIMD I shr(I a) {
    return _mm256_srli_epi32(a, kBits);
  }
  FARTHING_SIMD I shr_by(I a, int bits) { return _mm256_srl_epi32(a, _mm_cvtsi32_si128(bits)); }
  template <int kBits>
  FARTHING_SIMD I sra(I a) {
    return _mm256_srai_epi32(a, kBits);
  }
  FARTHING_SIMD I less_or(I a, I b, I yes, I no) {
    return _mm256_blendv_epi8(no, yes, _mm256_cmpgt_epi32(b, a));
  }
  FARTHING_SIMD I shl_each(I a, I counts) { return _mm256_sllv_epi32(a, counts); }
  FARTHING_SIMD I or_and(I x, I a, I mask) { return _mm256_or_si256(x, _mm256_and_si256(a, mask)); }
  FARTHING_SIMD I lookup(I table, I index) { return _mm256_shuffle_epi8(table, index); }

  FARTHING_SIMD I load_line(const void* p) {
    return _mm256_load_si256(static_cast<const __m256i*>(p));
  }

  FARTHING_SIMD void store_line(void* p, I a) { _mm256_store_si256(static_cast<__m256i*>(p), a); }
  FARTHING_SIMD I abs_bytes(I a) { return _mm256_abs_epi8(a); }
  // The bytes of a with the signs of b's, 0 where b is.
  FARTHING_SIMD I sign_bytes(I a, I b) { return _mm256_sign_epi8(a, b); }

  // ---- dot products of four bytes per lane with the four at `a` ----
  FARTHING_SIMD I dot_unsigned(I acc, I w, const int8_t* a) {
#ifdef __AVXVNNI__
    return _mm256_dpbusd_avx_epi32(acc, w, broadcast(a));
#else
    return widen_pairs(acc, pair_products(w, a));
#endif
  }
  FARTHING_SIMD I dot_biased(I acc, I w, const int8_t* a) {
#ifdef __AVXVNNI__
    return dot_unsigned(acc, w, a);
#else
    // |value| <= 128 and |a| <= 127: a pair sums to at most 32512, which an int16 holds.
    const I value = bit_xor(w, set1_bytes(0x80));
    const I pairs =
        _mm256_maddubs_epi16(_mm256_abs_epi8(value), _mm256_sign_epi8(broadcast(a), value));
    return widen_pairs(acc, pairs);
#endif
  }
  FARTHING_SIMD I dot_unsigned(I acc, I w, I a) {
#ifdef __AVXVNNI__
    return _mm256_dpbusd_avx_epi32(acc, w, a);
#else
    return widen_pairs(acc, pair_products(w, a));
#endif
  }
  FARTHING_SIMD I pair_products(I w, I a) { return _mm256_maddubs_epi16(w, a); }
  FARTHING_SIMD I pair_products(I w, const int8_t* a) { return pair_products(w, broadcast(a)); }
  // By asm: g++ 12 turns chains of the intrinsic into trees, whose leaves fill all registers.
  FARTHING_SIMD I add_pairs(I a, I b) {
    __asm__("vpaddw %2, %1, %0" : "=x"(a) : "%x"(a), "x"(b));
    return a;
  }
  FARTHING_SIMD I widen_pairs(I acc, I pairs) {
    pairs = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    __asm__("vpaddd %2, %1, %0" : "=x"(acc) : "%x"(pairs), "xm"(acc));
    return acc;
  }

  // ---- floats ----
  FARTHING_SIMD float first(F a) { return _mm256_cvtss_f32(a); }
  FARTHING_SIMD F zero_f() { return _mm256_setzero_ps(); }
  FARTHING_SIMD F set1_f(float x) { return _mm256_set1_ps(x); }
  FARTHING_SIMD F to_float(I a) { return _mm256_cvtepi32_ps(a); }
  FARTHING_SIMD I round_to_int(F a) { return _mm256_cvtps_epi32(a); }
  FARTHING_SIMD F as_float(I a) { return _mm256_castsi256_ps(a); }
  FARTHING_SIMD I as_int(F a) { return _mm256_castps_si256(a); }
  FARTHING_SIMD F add(F a, F b) { return _mm256_add_ps(a, b); }
  FARTHING_SIMD F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  FARTHING_SIMD F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  FARTHING_SIMD F div(F a, F b) { return _mm256_div_ps(a, b); }
  FARTHING_SIMD F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  FARTHING_SIMD F max(F a, F b) { return _mm256_max_ps(a, b); }
  FARTHING_SIMD F min(F a, F b) { return _mm256_min_ps(a, b); }
  FARTHING_SIMD F round(F a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  FARTHING_SIMD F f16_low(I a) { return _mm256_cvtph_ps(narrow(a)); }

  FARTHING_SIMD Mask lanes(int64_t first, int64_t end) {
    const I lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const auto below = [&](int64_t n) {
      return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int32_t>(n > 8   ? 8
                                                                       : n < 0 ? 0
                                                                               : n)),
                                lane);
    };
    return _mm256_andnot_si256(below(first), below(end));
  }
  FARTHING_SIMD Mask first_lanes(int64_t n) { return lanes(0, n); }
  FARTHING_SIMD F load(const float* p) { return _mm256_loadu_ps(p); }
  FARTHING_SIMD F load(const float* p, Mask m) { return _mm256_maskload_ps(p, m); }
  FARTHING_SIMD void store(float* p, F a) { _mm256_storeu_ps(p, a); }
  FARTHING_SIMD void store(float* p, F a, Mask m) { _mm256_maskstore_ps(p, m, a); }
  FARTHING_SIMD F select(Mask m, F yes, F no) {
    return _mm256_blendv_ps(no, yes, _mm256_castsi256_ps(m));
  }
  FARTHING_SIMD F load_f16(const void* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  }
  FARTHING_SIMD F load_int8(const void* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadu_si64(p)));
  }
  template <int kHalf>
  FARTHING_SIMD F load_int4(const void* p) {
    const I wide = _mm256_cvtepu8_epi32(_mm_loadu_si64(p));
    const I half = kHalf == 0 ? bit_and(wide, set1(15)) : shr<4>(wide);
    return _mm256_cvtepi32_ps(sub(half, set1(8)));
  }
  FARTHING_SIMD F load_bf16(const void* p) {
    return as_float(
        shl<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)))));
  }
  FARTHING_SIMD void store_f16(void* p, F a) {
    _mm_storeu_si128(static_cast<__m128i*>(p), _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
  }
  FARTHING_SIMD void store_low_halves(void* p, I a) {
    _mm_storeu_si128(static_cast<__m128i*>(p), narrow(a));
  }
  FARTHING_SIMD void store_low_bytes(int8_t* p, I a) {
    const __m128i halves = narrow(a);
    const __m128i mask = _mm_set1_epi16(0xff);
    _mm_storeu_si64(p, _mm_packus_epi16(_mm_and_si128(halves, mask), mask));
  }
  // The low bytes of 32 lanes, within +-127, in order.
  FARTHING_SIMD __m256i low_bytes(const I (&a)[4]) {
    const I low = _mm256_packs_epi32(a[0], a[1]), high = _mm256_packs_epi32(a[2], a[3]);
    return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high),
                                       _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  }

  // x + y in the lower, y - x in the upper lane of lanes kStride apart, y being the other one's.
  template <int kStride>
  FARTHING_SIMD F butterfly(F x) {
    F other;
    if constexpr (kStride == 1) other = _mm256_permute_ps(x, 0xb1);
    if constexpr (kStride == 2) other = _mm256_permute_ps(x, 0x4e);
    if constexpr (kStride == 4) other = _mm256_permute2f128_ps(x, x, 1);
    constexpr int kUpper = kStride == 1 ? 0xaa : kStride == 2 ? 0xcc : 0xf0;
    return _mm256_blend_ps(_mm256_add_ps(x, other), _mm256_sub_ps(other, x), kUpper);
  }
  // The low 16 bits of each lane.
  FARTHING_SIMD __m128i narrow(I a) {
    const I low = _mm256_and_si256(a, _mm256_set1_epi32(0xffff));
    return _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
  }

  FARTHING_SIMD F times_power(F a, F n) {  // n >= -126
    return mul(a, as_float(shl<23>(add(round_to_int(n), set1(127)))));
  }
  FARTHING_SIMD F swap_pairs(F a) { return _mm256_permute_ps(a, 0xb1); }
  FARTHING_SIMD F fma_alternate(F a, F b, F c) { return _mm256_fmaddsub_ps(a, b, c); }
  FARTHING_SIMD F twice_low(F a) {
    return _mm256_permutevar8x32_ps(a, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
  }
  FARTHING_SIMD F twice_high(F a) {
    return _mm256_permutevar8x32_ps(a, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7));
  }

  // ---- reductions, in fixed trees ----
  FARTHING_SIMD float sum(F a) {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
  }
  FARTHING_SIMD int32_t sum(I a) {
    __m128i x = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 0xb1)));
  }
  FARTHING_SIMD float largest(F a) {
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
  }
  FARTHING_SIMD uint32_t largest_unsigned(I a) {
    __m128i x = _mm_max_epu32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    x = _mm_max_epu32(x, _mm_shuffle_epi32(x, 0x4e));
    return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_max_epu32(x, _mm_shuffle_epi32(x, 0xb1))));
  }
};

}  // namespace
}  // namespace farthing
