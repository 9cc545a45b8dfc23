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
  // Byte kByte of each lane in all four bytes of it.
  template <int kByte>
  FARTHING_SIMD I spread_byte(I a) {
    const __m128i order = _mm_setr_epi8(kByte,
                                        kByte,
                                        kByte,
                                        kByte,
                                        kByte + 4,
                                        kByte + 4,
                                        kByte + 4,
                                        kByte + 4,
                                        kByte + 8,
                                        kByte + 8,
                                        kByte + 8,
                                        kByte + 8,
                                        kByte + 12,
                                        kByte + 12,
                                        kByte + 12,
                                        kByte + 12);
    return _mm512_shuffle_epi8(a, _mm512_broadcast_i32x4(order));
  }
  // x | value in the bytes where a has the bit of `pattern`; x lacks the bits of value.
  FARTHING_SIMD I or_where(I x, I a, I pattern, I value) {
    return _mm512_mask_add_epi8(x, _mm512_test_epi8_mask(a, pattern), x, value);
  }
  // Bytes of a table of 16 (repeated in each 128 bits) by bytes 0..15.
  FARTHING_SIMD I lookup(I table, I index) { return _mm512_shuffle_epi8(table, index); }

  // ---- rows to lanes ----
  // A tile's rows: four pointers, to rows 0, 4, 8 and 12, from which all 16 are addressed without
  // more registers.
  struct Rows {
    FARTHING_SIMD Rows at(const uint8_t* base, int64_t stride) {
      return {base, base + 4 * stride, base + 8 * stride, base + 12 * stride, stride, 3 * stride};
    }
    [[gnu::always_inline]] inline void advance(int64_t bytes) {
      q0 += bytes, q1 += bytes, q2 += bytes, q3 += bytes;
      __asm__(
          ""
          : "+r"(q0), "+r"(q1), "+r"(q2), "+r"(q3));  // or the compiler keeps 16 pointers, spilled
    }
    template <int kRow>
    [[gnu::always_inline]] inline const uint8_t* row() const {
      const uint8_t* q = kRow / 4 == 0 ? q0 : kRow / 4 == 1 ? q1 : kRow / 4 == 2 ? q2 : q3;
      return q + (kRow % 4 == 3 ? stride3 : kRow % 4 * stride);
    }
    const uint8_t *q0, *q1, *q2, *q3;
    int64_t stride, stride3;
  };
  // out[j], lane r: dword j of the 16 bytes at `offset` of row r.
  FARTHING_SIMD void load_tile(const Rows& rows, int64_t offset, I* out) {
    const I r0 = quarter_rows<0>(rows, offset), r1 = quarter_rows<1>(rows, offset);
    const I r2 = quarter_rows<2>(rows, offset), r3 = quarter_rows<3>(rows, offset);
    const I low01 = _mm512_unpacklo_epi32(r0, r1), low23 = _mm512_unpacklo_epi32(r2, r3);
    const I high01 = _mm512_unpackhi_epi32(r0, r1), high23 = _mm512_unpackhi_epi32(r2, r3);
    out[0] = _mm512_unpacklo_epi64(low01, low23);
    out[1] = _mm512_unpackhi_epi64(low01, low23);
    out[2] = _mm512_unpacklo_epi64(high01, high23);
    out[3] = _mm512_unpackhi_epi64(high01, high23);
  }
  // 16 bytes of rows kFirst, kFirst + 4, + 8 and + 12.
  template <int kFirst>
  FARTHING_SIMD I quarter_rows(const Rows& rows, int64_t offset) {
    I v = _mm512_castsi128_si512(load16(rows.row<kFirst>() + offset));
    v = _mm512_inserti32x4(v, load16(rows.row<kFirst + 4>() + offset), 1);
    v = _mm512_inserti32x4(v, load16(rows.row<kFirst + 8>() + offset), 2);
    return _mm512_inserti32x4(v, load16(rows.row<kFirst + 12>() + offset), 3);
  }
  FARTHING_SIMD __m128i load16(const uint8_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  }
  // Lane r: the dword at `offset` of row r. Masked broadcasts, which are loads: no gather, whose
  // speed differs tenfold among CPUs, and no insertion, which takes the port of the shuffles.
  FARTHING_SIMD I load_dwords(const Rows& rows, int64_t offset) {
    I v = _mm512_castsi128_si512(four_dwords<0>(rows, offset));
    v = _mm512_inserti32x4(v, four_dwords<4>(rows, offset), 1);
    v = _mm512_inserti32x4(v, four_dwords<8>(rows, offset), 2);
    return _mm512_inserti32x4(v, four_dwords<12>(rows, offset), 3);
  }
  template <int kFirst>
  FARTHING_SIMD __m128i four_dwords(const Rows& rows, int64_t offset) {
    __m128i v = _mm_loadu_si32(rows.row<kFirst>() + offset);
    v = _mm_mask_broadcastd_epi32(v, 2, _mm_loadu_si32(rows.row<kFirst + 1>() + offset));
    v = _mm_mask_broadcastd_epi32(v, 4, _mm_loadu_si32(rows.row<kFirst + 2>() + offset));
    return _mm_mask_broadcastd_epi32(v, 8, _mm_loadu_si32(rows.row<kFirst + 3>() + offset));
  }

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
    const I pairs = _mm512_maddubs_epi16(w, broadcast(a));
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
#endif
  }
  // w signed: with VNNI it must have gone through bias_signed() and acc start at 128 * -sum(a).
  FARTHING_SIMD I bias_signed(I w) { return kVnni ? bit_xor(w, set1_bytes(0x80)) : w; }
  FARTHING_SIMD I dot_signed(I acc, I w, const int8_t* a) {
#ifdef __AVX512VNNI__
    return dot_unsigned(acc, w, a);
#else
    const I x = broadcast(a);
    const I turned =
        _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(w), zero(), x);  // x with the sign of w
    const I pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(w), turned);
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
#endif
  }

  // ---- floats ----
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

  // ---- reductions, in fixed trees ----
  FARTHING_SIMD float sum(F a) { return _mm512_reduce_add_ps(a); }
  FARTHING_SIMD int32_t sum(I a) { return _mm512_reduce_add_epi32(a); }
  FARTHING_SIMD float largest(F a) { return _mm512_reduce_max_ps(a); }
  FARTHING_SIMD uint32_t largest_unsigned(I a) { return _mm512_reduce_max_epu32(a); }
  // Lane i: the sum of a[i].
  FARTHING_SIMD F sums(const F* a) {
    F quad[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4;
         ++i) {  // quad[i], 128-bit part p: the four sums of part p of a[4i .. 4i+3]
      const F x = add(_mm512_unpacklo_ps(a[4 * i], a[4 * i + 1]),
                      _mm512_unpackhi_ps(a[4 * i], a[4 * i + 1]));
      const F y = add(_mm512_unpacklo_ps(a[4 * i + 2], a[4 * i + 3]),
                      _mm512_unpackhi_ps(a[4 * i + 2], a[4 * i + 3]));
      quad[i] = add(_mm512_shuffle_ps(x, y, 0x44), _mm512_shuffle_ps(x, y, 0xee));
    }
    const F low = add(_mm512_shuffle_f32x4(quad[0], quad[1], 0x88),
                      _mm512_shuffle_f32x4(quad[0], quad[1], 0xdd));
    const F high = add(_mm512_shuffle_f32x4(quad[2], quad[3], 0x88),
                       _mm512_shuffle_f32x4(quad[2], quad[3], 0xdd));
    return add(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));
  }
};

}  // namespace
}  // namespace farthing
