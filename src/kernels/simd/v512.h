// V512: sixteen 32-bit lanes; the vocabulary that the kernels of this folder are written in (v256.h
// is the other). Everything here has internal linkage and is inlined: an object compiled for one
// Isa exports only its table.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#define FARTHING_SIMD [[gnu::always_inline]] static inline

namespace farthing {
namespace {

struct V512 {
  using I = __m512i;
  using F = __m512;
  using Mask = __mmask16;
  static constexpr int kLanes = 16;
  static constexpr int kMaxTokens =
      16;  // accumulators of a tile that fit in registers beside 8 of weights
#ifdef __AVX512VNNI__
  static constexpr bool kVnni = true;
#else
  static constexpr bool kVnni = false;
#endif

  // ---- integers ----
  FARTHING_SIMD I zero() { return _mm512_setzero_si512(); }
  FARTHING_SIMD I set1(int32_t x) { return _mm512_set1_epi32(x); }
  FARTHING_SIMD I set1_bytes(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }
  FARTHING_SIMD I broadcast(const void* p) {
    return _mm512_set1_epi32(_mm_cvtsi128_si32(_mm_loadu_si32(p)));
  }
  FARTHING_SIMD I load16_repeated(const void* p) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  }
  FARTHING_SIMD I bit_and(I a, I b) { return _mm512_and_si512(a, b); }
  FARTHING_SIMD I bit_or(I a, I b) { return _mm512_or_si512(a, b); }
  FARTHING_SIMD I bit_xor(I a, I b) { return _mm512_xor_si512(a, b); }
  FARTHING_SIMD I add(I a, I b) { return _mm512_add_epi32(a, b); }
  FARTHING_SIMD I sub(I a, I b) { return _mm512_sub_epi32(a, b); }
  FARTHING_SIMD I max_unsigned(I a, I b) { return _mm512_max_epu32(a, b); }
  template <int kBits>
  FARTHING_SIMD I shl(I a) {
    return _mm512_slli_epi32(a, kBits);
  }
  template <int kBits>
  FARTHING_SIMD I shr(I a) {
    return _mm512_srli_epi32(a, kBits);
  }
  FARTHING_SIMD I shr_by(I a, int bits) { return _mm512_srl_epi32(a, _mm_cvtsi32_si128(bits)); }
  template <int kBits>
  FARTHING_SIMD I sra(I a) {
    return _mm512_srai_epi32(a, kBits);
  }
  FARTHING_SIMD I less_or(I a, I b, I yes, I no) {  // a < b ? yes : no
    return _mm512_mask_blend_epi32(_mm512_cmplt_epi32_mask(a, b), no, yes);
  }
  FARTHING_SIMD I shl_each(I a, I counts) { return _mm512_sllv_epi32(a, counts); }
  // x | (a & mask)
  FARTHING_SIMD I or_and(I x, I a, I mask) { return _mm512_ternarylogic_epi32(x, a, mask, 0xf8); }
  // Bytes of a table of 16 (repeated in each 128 bits) by bytes 0..15.
  FARTHING_SIMD I lookup(I table, I index) { return _mm512_shuffle_epi8(table, index); }

  // Sixteen dwords, side by side and aligned.
  FARTHING_SIMD I load_line(const void* p) { return _mm512_load_si512(p); }
  FARTHING_SIMD void store_line(void* p, I a) { _mm512_store_si512(p, a); }

  // ---- dot products of four bytes per lane with the four at `a` ----
  FARTHING_SIMD I dot_unsigned(I acc, I w, const int8_t* a) {
#ifdef __AVX512VNNI__
    // By asm: g++ 12 copies registers around the intrinsic, at half the rate.
    using Quad [[gnu::may_alias]] = int32_t;
    __asm__("vpdpbusd %2%{1to16%}, %1, %0"
            : "+v"(acc)
            : "v"(w), "m"(*reinterpret_cast<const Quad*>(a)));
    return acc;
#else
    return widen_pairs(acc, pair_products(w, a));
#endif
  }
  // The same with the four bytes of `a` in every lane.
  FARTHING_SIMD I dot_unsigned(I acc, I w, I a) {
#ifdef __AVX512VNNI__
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(w), "v"(a));
    return acc;
#else
    return widen_pairs(acc, _mm512_maddubs_epi16(w, a));
#endif
  }
  // w is a signed byte + 128; with VNNI, acc must start at 128 * -sum(a).
  FARTHING_SIMD I dot_biased(I acc, I w, const int8_t* a) {
#ifdef __AVX512VNNI__
    return dot_unsigned(acc, w, a);
#else
    const I x = broadcast(a);
    const I value = bit_xor(w, set1_bytes(0x80));
    const I turned = _mm512_mask_sub_epi8(
        x, _mm512_movepi8_mask(value), zero(), x);  // x with the sign of the value
    return widen_pairs(acc, _mm512_maddubs_epi16(_mm512_abs_epi8(value), turned));
#endif
  }
  // Without VNNI: products of neighbouring bytes summed to int16, sums of those, and these to
  // int32.
  FARTHING_SIMD I pair_products(I w, const int8_t* a) {
    return _mm512_maddubs_epi16(w, broadcast(a));
  }
  FARTHING_SIMD I add_pairs(I a, I b) { return _mm512_add_epi16(a, b); }
  FARTHING_SIMD I widen_pairs(I acc, I pairs) {
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
  }

  // ---- floats ----
  FARTHING_SIMD float first(F a) { return _mm512_cvtss_f32(a); }
  FARTHING_SIMD F zero_f() { return _mm512_setzero_ps(); }
  FARTHING_SIMD F set1_f(float x) { return _mm512_set1_ps(x); }
  FARTHING_SIMD F to_float(I a) { return _mm512_cvtepi32_ps(a); }
  FARTHING_SIMD I round_to_int(F a) { return _mm512_cvtps_epi32(a); }
  FARTHING_SIMD F as_float(I a) { return _mm512_castsi512_ps(a); }
  FARTHING_SIMD I as_int(F a) { return _mm512_castps_si512(a); }
  FARTHING_SIMD F add(F a, F b) { return _mm512_add_ps(a, b); }
  FARTHING_SIMD F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  FARTHING_SIMD F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  FARTHING_SIMD F div(F a, F b) { return _mm512_div_ps(a, b); }
  FARTHING_SIMD F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  FARTHING_SIMD F max(F a, F b) { return _mm512_max_ps(a, b); }  // b if either is a NaN
  FARTHING_SIMD F min(F a, F b) { return _mm512_min_ps(a, b); }
  FARTHING_SIMD F round(F a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  FARTHING_SIMD F f16_low(I a) {
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a));
  }  // of each lane's low half

  FARTHING_SIMD Mask first_lanes(int64_t n) {
    return static_cast<Mask>(n >= 16 ? 0xffff : n <= 0 ? 0 : (1u << n) - 1);
  }
  FARTHING_SIMD Mask lanes(int64_t first, int64_t end) {
    return static_cast<Mask>(first_lanes(end) & ~first_lanes(first));
  }
  FARTHING_SIMD F load(const float* p) { return _mm512_loadu_ps(p); }
  FARTHING_SIMD F load(const float* p, Mask m) { return _mm512_maskz_loadu_ps(m, p); }
  FARTHING_SIMD void store(float* p, F a) { _mm512_storeu_ps(p, a); }
  FARTHING_SIMD void store(float* p, F a, Mask m) { _mm512_mask_storeu_ps(p, m, a); }
  FARTHING_SIMD F select(Mask m, F yes, F no) { return _mm512_mask_blend_ps(m, no, yes); }
  FARTHING_SIMD F load_f16(const void* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
  }
  FARTHING_SIMD F load_int8(const void* p) {
    const __m128i bytes = _mm_loadu_si128(static_cast<const __m128i*>(p));
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
  }
  // Of the lower or the upper (kHalf) halves of bytes, less 8.
  template <int kHalf>
  FARTHING_SIMD F load_int4(const void* p) {
    const __m128i bytes = _mm_loadu_si128(static_cast<const __m128i*>(p));
    const I wide = _mm512_cvtepu8_epi32(bytes);
    const F table = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
    return _mm512_permutexvar_ps(kHalf == 0 ? wide : shr<4>(wide), table);
  }
  FARTHING_SIMD F load_bf16(const void* p) {
    const I wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
    return as_float(shl<16>(wide));
  }
  FARTHING_SIMD void store_f16(void* p, F a) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
  }
  FARTHING_SIMD void store_low_halves(void* p, I a) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtepi32_epi16(a));
  }
  FARTHING_SIMD void store_low_bytes(int8_t* p, I a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a));
  }
  // The low bytes of 32 lanes, in order.
  FARTHING_SIMD __m256i low_bytes(const I (&a)[2]) {
    return _mm256_set_m128i(_mm512_cvtepi32_epi8(a[1]), _mm512_cvtepi32_epi8(a[0]));
  }

  // x + y in the lower, y - x in the upper lane of lanes kStride apart, y being the other one's.
  template <int kStride>
  FARTHING_SIMD F butterfly(F x) {
    F other;
    if constexpr (kStride == 1) other = _mm512_permute_ps(x, 0xb1);
    if constexpr (kStride == 2) other = _mm512_permute_ps(x, 0x4e);
    if constexpr (kStride == 4) other = _mm512_shuffle_f32x4(x, x, 0xb1);
    if constexpr (kStride == 8) other = _mm512_shuffle_f32x4(x, x, 0x4e);
    constexpr __mmask16 kUpper = kStride == 1   ? 0xaaaa
                                 : kStride == 2 ? 0xcccc
                                 : kStride == 4 ? 0xf0f0
                                                : 0xff00;
    return _mm512_mask_sub_ps(_mm512_add_ps(x, other), kUpper, other, x);
  }

  // a * 2^n, n a whole number.
  FARTHING_SIMD F times_power(F a, F n) { return _mm512_scalef_ps(a, n); }
  // Lanes 0 and 1, 2 and 3, ... in turn; a * b -+ c, minus in even lanes.
  FARTHING_SIMD F swap_pairs(F a) { return _mm512_permute_ps(a, 0xb1); }
  FARTHING_SIMD F fma_alternate(F a, F b, F c) { return _mm512_fmaddsub_ps(a, b, c); }
  // Each of the lower (upper) eight lanes twice.
  FARTHING_SIMD F twice_low(F a) {
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7),
                                 a);
  }
  FARTHING_SIMD F twice_high(F a) {
    return _mm512_permutexvar_ps(
        _mm512_setr_epi32(8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15), a);
  }

  // ---- reductions, in fixed trees ----
  FARTHING_SIMD float sum(F a) { return _mm512_reduce_add_ps(a); }
  FARTHING_SIMD int32_t sum(I a) { return _mm512_reduce_add_epi32(a); }
  FARTHING_SIMD float largest(F a) { return _mm512_reduce_max_ps(a); }
  FARTHING_SIMD uint32_t largest_unsigned(I a) { return _mm512_reduce_max_epu32(a); }
};

}  // namespace
}  // namespace farthing
