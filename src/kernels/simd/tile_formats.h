// How each integer weight format becomes a group: V::kLanes rows (one per lane) x 32 values, as
// eight vectors of four bytes per lane ("quads"), and its scales and minimums as f32 lanes. `unit`
// points to this V's lanes in the first line of a tile's unit (quant/tile.h). A format is described
// by
//   Unit, kGroups         a row's part of a unit, and its groups of 32 values
//   kPart                 groups that differ in their code; then it repeats
//   kHalves               a scale (and minimum) for each 16 values: arrays hold [2 * group + half]
//   kMin                  it has minimums (negative ones for the K formats)
//   kBits                 values are below 2^kBits
//   kOffset               value = byte - kOffset
//   kSigned               the bytes of quads() are values + 128
//   header(unit, scale, min), quads<group of its part>(unit, part, w)
#pragma once

#include "quant/layout.h"
#include "quant/tile.h"

#define FARTHING_OFFSET(Struct, field) static_cast<int64_t>(__builtin_offsetof(Struct, field))

namespace farthing {
namespace {

// The four bytes at `offset` of each row's part of the unit.
template <class V>
FARTHING_SIMD typename V::I line(const std::byte* unit, int64_t offset) {
  return V::load_line(unit + offset * kTileRows);
}

// ---- pieces
// -----------------------------------------------------------------------------------------------

// Nibble kHalf (0: low) of the 32 bytes at `offset`.
template <class V, int kHalf>
FARTHING_SIMD void nibbles(const std::byte* unit, int64_t offset, typename V::I* w) {
  const auto mask = V::set1_bytes(15);
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j)
    w[j] = V::bit_and(V::template shr<4 * kHalf>(line<V>(unit, offset + 4 * j)), mask);
}

// 32 values in 16 bytes: the low nibbles, then the high ones.
template <class V>
FARTHING_SIMD void split_nibbles(const std::byte* unit, int64_t offset, typename V::I* w) {
  const auto mask = V::set1_bytes(15);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const auto both = line<V>(unit, offset + 4 * j);
    w[j] = V::bit_and(both, mask);
    w[4 + j] = V::bit_and(V::template shr<4>(both), mask);
  }
}

// Bits kShift and kShift + 1 of the 32 bytes at `offset`.
template <class V, int kShift>
FARTHING_SIMD void pairs(const std::byte* unit, int64_t offset, typename V::I* w) {
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    const auto bytes = line<V>(unit, offset + 4 * j);
    w[j] = V::bit_and(V::template shr<kShift>(bytes), V::set1_bytes(3));
  }
}

// x with its bits kFrom.. moved to kTo..
template <class V, int kFrom, int kTo>
FARTHING_SIMD typename V::I moved(typename V::I x) {
  if constexpr (kFrom >= kTo)
    return V::template shr<kFrom - kTo>(x);
  else
    return V::template shl<kTo - kFrom>(x);
}

// w |= ((plane >> kFrom) & mask) << kTo for eight vectors, each shifted right by `shift` first;
// mask lies at the bits from kTo on.
template <class V, int kFrom, int kTo>
FARTHING_SIMD void or_plane(
    const std::byte* unit, int64_t offset, int shift, int mask, typename V::I* w) {
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    const auto bits = line<V>(unit, offset + 4 * j);
    const auto plane = shift == 0 ? bits : V::shr_by(bits, shift);
    w[j] = V::or_and(w[j], moved<V, kFrom, kTo>(plane), V::set1_bytes(mask));
  }
}

// Bit 4 of a group's values: quad j's four bits are bits j, 8 + j, 16 + j and 24 + j of `high`.
template <class V, int kQuad = 0>
FARTHING_SIMD void or_fifth_bits(typename V::I high, typename V::I* w) {
  w[kQuad] = V::or_and(w[kQuad], moved<V, kQuad, 4>(high), V::set1_bytes(16));
  if constexpr (kQuad < 7) or_fifth_bits<V, kQuad + 1>(high, w);
}

template <class V>
FARTHING_SIMD typename V::F f16_high(typename V::I pairs) {
  return V::f16_low(V::template shr<16>(pairs));
}

// Byte kByte of each lane as a float.
template <class V, int kByte>
FARTHING_SIMD typename V::F byte_to_float(typename V::I bytes) {
  return V::to_float(V::bit_and(V::template shr<8 * kByte>(bytes), V::set1(255)));
}
template <class V, int kByte>
FARTHING_SIMD typename V::F signed_byte_to_float(typename V::I bytes) {
  return V::to_float(V::template sra<24>(V::template shl<24 - 8 * kByte>(bytes)));
}

// out[b] = factor * byte b, b = 0..3
template <class V>
FARTHING_SIMD void scale_bytes(typename V::I bytes, typename V::F factor, typename V::F* out) {
  out[0] = V::mul(factor, byte_to_float<V, 0>(bytes));
  out[1] = V::mul(factor, byte_to_float<V, 1>(bytes));
  out[2] = V::mul(factor, byte_to_float<V, 2>(bytes));
  out[3] = V::mul(factor, byte_to_float<V, 3>(bytes));
}
template <class V>
FARTHING_SIMD void scale_signed_bytes(typename V::I bytes,
                                      typename V::F factor,
                                      typename V::F* out) {
  out[0] = V::mul(factor, signed_byte_to_float<V, 0>(bytes));
  out[1] = V::mul(factor, signed_byte_to_float<V, 1>(bytes));
  out[2] = V::mul(factor, signed_byte_to_float<V, 2>(bytes));
  out[3] = V::mul(factor, signed_byte_to_float<V, 3>(bytes));
}

// ---- 32 values per block
// ----------------------------------------------------------------------------------

// Two f16 per dword: of the unit's two blocks, or scale and minimum.
template <class V, class UnitType, int kBits_, int kBlocks, int kOffset_, bool kHasMin>
struct Group32 {
  using Unit = UnitType;
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int kBits = kBits_, kGroups = kBlocks, kPart = kBlocks, kOffset = kOffset_;
  static constexpr bool kHalves = false, kMin = kHasMin, kSigned = false;

  FARTHING_SIMD void header(const std::byte* unit, F* scale, F* min) {
    const I factors = line<V>(unit, 0);
    scale[0] = V::f16_low(factors);
    (kMin ? min[0] : scale[1]) = f16_high<V>(factors);
  }
};

template <class V>
struct TileQ4_0 : Group32<V, UnitQ4_0, 4, 2, 8, false> {
  template <int kGroup>
  FARTHING_SIMD void quads(const std::byte* unit, int, typename V::I* w) {
    split_nibbles<V>(unit, FARTHING_OFFSET(UnitQ4_0, qs[kGroup]), w);
  }
};

template <class V>
struct TileQ4_1 : Group32<V, QBlockQ4_1, 4, 1, 0, true> {
  template <int kGroup>
  FARTHING_SIMD void quads(const std::byte* unit, int, typename V::I* w) {
    split_nibbles<V>(unit, FARTHING_OFFSET(QBlockQ4_1, qs), w);
  }
};

template <class V>
struct TileQ5_0 : Group32<V, UnitQ5_0, 5, 2, 16, false> {
  template <int kGroup>
  FARTHING_SIMD void quads(const std::byte* unit, int, typename V::I* w) {
    split_nibbles<V>(unit, FARTHING_OFFSET(UnitQ5_0, qs[kGroup]), w);
    or_fifth_bits<V>(line<V>(unit, FARTHING_OFFSET(UnitQ5_0, qh[kGroup])), w);
  }
};

template <class V>
struct TileQ5_1 : Group32<V, UnitQ5_1, 5, 1, 0, true> {
  template <int kGroup>
  FARTHING_SIMD void quads(const std::byte* unit, int, typename V::I* w) {
    split_nibbles<V>(unit, FARTHING_OFFSET(UnitQ5_1, qs), w);
    or_fifth_bits<V>(line<V>(unit, FARTHING_OFFSET(UnitQ5_1, qh)), w);
  }
};

template <class V>
struct TileQ8_0 : Group32<V, UnitQ8_0, 8, 2, 0, false> {
  static constexpr bool kSigned = true;
  template <int kGroup>
  FARTHING_SIMD void quads(const std::byte* unit, int, typename V::I* w) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) w[j] = line<V>(unit, FARTHING_OFFSET(UnitQ8_0, qs[kGroup]) + 4 * j);
  }
};

// Nibbles through a table of signed levels.
template <class V>
FARTHING_SIMD void look_up_levels(const int8_t (&levels)[16],
                                  const std::byte* unit,
                                  int64_t offset,
                                  typename V::I* w) {
  split_nibbles<V>(unit, offset, w);
  const auto table = V::bit_xor(V::load16_repeated(levels), V::set1_bytes(0x80));
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) w[j] = V::lookup(table, w[j]);
}

template <class V>
struct TileIQ4_NL : Group32<V, UnitQ4_0, 8, 2, 0, false> {
  static constexpr bool kSigned = true;
  template <int kGroup>
  FARTHING_SIMD void quads(const std::byte* unit, int, typename V::I* w) {
    look_up_levels<V>(kIQ4Values, unit, FARTHING_OFFSET(UnitQ4_0, qs[kGroup]), w);
  }
};

template <class V>
struct TileMXFP4 : Group32<V, UnitMXFP4, 8, 4, 0, false> {
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int kPart = 1;
  static constexpr bool kSigned = true;
  FARTHING_SIMD void header(const std::byte* unit, F* scale, F*) {
    const I exponents = line<V>(unit, 0);
    scale[0] = power<0>(exponents), scale[1] = power<1>(exponents);
    scale[2] = power<2>(exponents), scale[3] = power<3>(exponents);
  }
  // 2^(e - 128)
  template <int kByte>
  FARTHING_SIMD F power(I exponents) {
    const I e = V::bit_and(V::template shr<8 * kByte>(exponents), V::set1(255));
    const I normal = V::template shl<23>(V::sub(e, V::set1(1)));
    const I subnormal =
        V::shl_each(V::set1(0x200000), e);  // the same where that is no normal number
    return V::as_float(V::less_or(e, V::set1(2), subnormal, normal));
  }
  template <int kGroup>
  FARTHING_SIMD void quads(const std::byte* unit, int part, I* w) {
    look_up_levels<V>(kMXFP4Values, unit, FARTHING_OFFSET(UnitMXFP4, qs) + 16 * part, w);
  }
};

// ---- 32, 64 or 128 values per block, of Hugging Face folders
// -------------------------------------------------------------------------------------------

// d * (q - zero): the product with -d * zero, which is exact, is the minimum.
template <class V, int kN>
struct TileINT4 {
  using Unit = QBlockINT4<kN>;
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int kBits = 4, kGroups = kN, kPart = kN, kOffset = 0;
  static constexpr bool kHalves = false, kMin = true, kSigned = false;

  FARTHING_SIMD void header(const std::byte* unit, F* scale, F* min) {
    const I factors = line<V>(unit, 0);
    const F d = V::f16_low(factors);
    const F zero = V::to_float(V::template shr<16>(factors));
    const F minimum = V::mul(V::sub(V::zero_f(), d), zero);
#pragma GCC unroll 4
    for (int i = 0; i < kN; ++i) scale[i] = d, min[i] = minimum;
  }
  template <int kGroup>
  FARTHING_SIMD void quads(const std::byte* unit, int, I* w) {
    split_nibbles<V>(unit, 4 + 16 * kGroup, w);
  }
};

template <class V>
struct TileINT8 {
  using Unit = UnitINT8;
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int kBits = 8, kGroups = 4, kPart = 1, kOffset = 0;
  static constexpr bool kHalves = false, kMin = false, kSigned = true;

  FARTHING_SIMD void header(const std::byte* unit, F* scale, F*) {
    const F d = V::as_float(line<V>(unit, 0));
#pragma GCC unroll 4
    for (int i = 0; i < kGroups; ++i) scale[i] = d;
  }
  template <int kGroup>
  FARTHING_SIMD void quads(const std::byte* unit, int part, I* w) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) w[j] = line<V>(unit, 4 + 32 * part + 4 * j);
  }
};

// ---- 256 values per block
// -----------------------------------------------------------------------------------

template <class V, size_t kLines>
FARTHING_SIMD void load_lines(const std::byte* unit, int64_t offset, typename V::I (&out)[kLines]) {
#pragma GCC unroll 4
  for (size_t i = 0; i < kLines; ++i) out[i] = line<V>(unit, offset + 4 * static_cast<int64_t>(i));
}

// Q4_K and Q5_K: scale and -min of eight groups.
template <class V>
FARTHING_SIMD void header_k4(const std::byte* unit, typename V::F* scale, typename V::F* min) {
  using I = typename V::I;
  const I factors = line<V>(unit, 0);
  const auto d = V::f16_low(factors);
  const auto minus_dmin = V::sub(V::zero_f(), f16_high<V>(factors));
  I packed[3];  // the 12 bytes of scales
  load_lines<V>(unit, FARTHING_OFFSET(QBlockQ4_K, scales), packed);
  const I six = V::set1_bytes(63), four = V::set1_bytes(15), pair = V::set1_bytes(48);
  const I scale_high = V::bit_and(V::template shr<2>(packed[0]), pair);
  const I min_high = V::bit_and(V::template shr<2>(packed[1]), pair);
  scale_bytes<V>(V::bit_and(packed[0], six), d, scale);
  scale_bytes<V>(V::bit_or(V::bit_and(packed[2], four), scale_high), d, scale + 4);
  scale_bytes<V>(V::bit_and(packed[1], six), minus_dmin, min);
  scale_bytes<V>(
      V::bit_or(V::bit_and(V::template shr<4>(packed[2]), four), min_high), minus_dmin, min + 4);
}

template <class V>
struct TileQ4_K {
  using Unit = QBlockQ4_K;
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int kBits = 4, kGroups = 8, kPart = 2, kOffset = 0;
  static constexpr bool kHalves = false, kMin = true, kSigned = false;

  FARTHING_SIMD void header(const std::byte* unit, F* scale, F* min) {
    header_k4<V>(unit, scale, min);
  }
  template <int kGroup>
  FARTHING_SIMD void quads(const std::byte* unit, int part, I* w) {
    nibbles<V, kGroup>(unit, FARTHING_OFFSET(Unit, qs) + 32 * part, w);
  }
};

template <class V>
struct TileQ5_K {
  using Unit = QBlockQ5_K;
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int kBits = 5, kGroups = 8, kPart = 2, kOffset = 0;
  static constexpr bool kHalves = false, kMin = true, kSigned = false;

  FARTHING_SIMD void header(const std::byte* unit, F* scale, F* min) {
    header_k4<V>(unit, scale, min);
  }
  template <int kGroup>
  FARTHING_SIMD void quads(const std::byte* unit, int part, I* w) {
    nibbles<V, kGroup>(unit, FARTHING_OFFSET(Unit, qs) + 32 * part, w);
    or_plane<V, kGroup, 4>(unit, FARTHING_OFFSET(Unit, qh), 2 * part, 16, w);
  }
};

template <class V>
struct TileQ6_K {
  using Unit = UnitQ6_K;
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int kBits = 6, kGroups = 8, kPart = 4, kOffset = 32;
  static constexpr bool kHalves = true, kMin = false, kSigned = false;

  FARTHING_SIMD void header(const std::byte* unit, F* scale, F*) {
    const auto d = V::f16_low(line<V>(unit, FARTHING_OFFSET(Unit, block.d)));
    I packed[4];
    load_lines<V>(unit, FARTHING_OFFSET(Unit, block.scales), packed);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) scale_signed_bytes<V>(packed[i], d, scale + 4 * i);
  }
  template <int kGroup>
  FARTHING_SIMD void quads(const std::byte* unit, int part, I* w) {
    nibbles<V, kGroup / 2>(unit, FARTHING_OFFSET(Unit, block.ql) + 64 * part + kGroup % 2 * 32, w);
    or_plane<V, 2 * kGroup, 4>(unit, FARTHING_OFFSET(Unit, block.qh) + 32 * part, 0, 48, w);
  }
};

template <class V>
struct TileQ2_K {
  using Unit = QBlockQ2_K;
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int kBits = 2, kGroups = 8, kPart = 4, kOffset = 0;
  static constexpr bool kHalves = true, kMin = true, kSigned = false;

  FARTHING_SIMD void header(const std::byte* unit, F* scale, F* min) {
    const I factors = line<V>(unit, FARTHING_OFFSET(Unit, d));
    const auto d = V::f16_low(factors);
    const auto minus_dmin = V::sub(V::zero_f(), f16_high<V>(factors));
    I packed[4];
    load_lines<V>(unit, FARTHING_OFFSET(Unit, scales), packed);
    const I four = V::set1_bytes(15);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      scale_bytes<V>(V::bit_and(packed[i], four), d, scale + 4 * i);
      scale_bytes<V>(V::bit_and(V::template shr<4>(packed[i]), four), minus_dmin, min + 4 * i);
    }
  }
  template <int kGroup>
  FARTHING_SIMD void quads(const std::byte* unit, int part, I* w) {
    pairs<V, 2 * kGroup>(unit, FARTHING_OFFSET(Unit, qs) + 32 * part, w);
  }
};

template <class V>
struct TileQ3_K {
  using Unit = UnitQ3_K;
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int kBits = 3, kGroups = 8, kPart = 4, kOffset = 4;
  static constexpr bool kHalves = true, kMin = false, kSigned = false;

  FARTHING_SIMD void header(const std::byte* unit, F* scale, F*) {
    const auto d = V::f16_low(line<V>(unit, FARTHING_OFFSET(Unit, block.d)));
    I packed[3];
    load_lines<V>(unit, FARTHING_OFFSET(Unit, block.scales), packed);
    const I four = V::set1_bytes(15), pair = V::set1_bytes(48);
    const I high0 = V::bit_and(V::template shl<4>(packed[2]), pair);
    const I high1 = V::bit_and(V::template shl<2>(packed[2]), pair);
    const I high2 = V::bit_and(packed[2], pair);
    const I high3 = V::bit_and(V::template shr<2>(packed[2]), pair);
    unbias(V::bit_or(V::bit_and(packed[0], four), high0), d, scale);
    unbias(V::bit_or(V::bit_and(packed[1], four), high1), d, scale + 4);
    unbias(V::bit_or(V::bit_and(V::template shr<4>(packed[0]), four), high2), d, scale + 8);
    unbias(V::bit_or(V::bit_and(V::template shr<4>(packed[1]), four), high3), d, scale + 12);
  }
  // out[b] = d * (byte b - 32)
  FARTHING_SIMD void unbias(I bytes, F d, F* out) {
    scale_bytes<V>(bytes, d, out);
    const F offset = V::mul(d, V::set1_f(-32.0f));
#pragma GCC unroll 4
    for (int b = 0; b < 4; ++b)
      out[b] = V::add(out[b], offset);  // both products and the sum are exact
  }
  template <int kGroup>
  FARTHING_SIMD void quads(const std::byte* unit, int part, I* w) {
    pairs<V, 2 * kGroup>(unit, FARTHING_OFFSET(Unit, block.qs) + 32 * part, w);
    or_plane<V, kGroup, 2>(unit, FARTHING_OFFSET(Unit, block.hmask), 4 * part, 4, w);
  }
};

template <class V>
struct TileIQ4_XS {
  using Unit = QBlockIQ4_XS;
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int kBits = 8, kGroups = 8, kPart = 1, kOffset = 0;
  static constexpr bool kHalves = false, kMin = false, kSigned = true;

  FARTHING_SIMD void header(const std::byte* unit, F* scale, F*) {
    const I first = line<V>(unit, 0);  // d, scales_h
    const I low = line<V>(unit, FARTHING_OFFSET(Unit, scales_l));
    const F d = V::f16_low(first);
    group_scale<0>(d, low, V::template shr<16>(first), scale);
  }
  template <int kGroup>
  FARTHING_SIMD void group_scale(F d, I low, I high, F* scale) {
    const I nibble = V::bit_and(V::template shr<4 * kGroup>(low), V::set1(15));
    const I pair = V::bit_and(V::template shr<2 * kGroup>(high), V::set1(3));
    const I s = V::sub(V::bit_or(nibble, V::template shl<4>(pair)), V::set1(32));
    scale[kGroup] = V::mul(d, V::to_float(s));
    if constexpr (kGroup < 7) group_scale<kGroup + 1>(d, low, high, scale);
  }
  template <int kGroup>
  FARTHING_SIMD void quads(const std::byte* unit, int part, I* w) {
    look_up_levels<V>(kIQ4Values, unit, FARTHING_OFFSET(Unit, qs) + 16 * part, w);
  }
};

}  // namespace
}  // namespace farthing
