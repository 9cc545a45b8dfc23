// How each integer weight format becomes a tile: V::kLanes rows (one per lane) x 32 values, as
// eight vectors of four bytes per lane ("quads"), and its scales and minimums as f32 lanes. A
// format is described by
//   QBlock, kGroups                groups of 32 values per quant block
//   kGroupsPerLoad                 groups unpacked from what load() brings
//   kRaw                           vectors that load() fills
//   kHalves                        a scale (and minimum) for each 16 values: arrays hold [2 * group
//   + half] kMin                           it has minimums (negative ones for the K formats)
//   kOffsetShift, kSigned          value = byte - 2^kOffsetShift (-1: no offset), or the byte is
//   signed header(rows, scale, min), load(rows, part, raw), quads<g>(raw, w)
// where `rows` points to the quant block of each row. Layouts: quant/layout.h.
#pragma once

#include "quant/layout.h"

#define FARTHING_OFFSET(Struct, field) static_cast<int64_t>(__builtin_offsetof(Struct, field))

namespace farthing {
namespace {

template <class V>
using Rows = typename V::Rows;

// ---- pieces
// -----------------------------------------------------------------------------------------------

template <class V>
FARTHING_SIMD void split_nibbles(const typename V::I* raw, typename V::I* w) {
  const auto mask = V::set1_bytes(15);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    w[j] = V::bit_and(raw[j], mask);
    w[4 + j] = V::bit_and(V::template shr<4>(raw[j]), mask);
  }
}

// (raw >> kShift) & mask for eight vectors.
template <class V, int kShift>
FARTHING_SIMD void shift_and_mask(const typename V::I* raw, int mask, typename V::I* w) {
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j)
    w[j] = V::bit_and(V::template shr<kShift>(raw[j]), V::set1_bytes(mask));
}

// w |= ((plane >> kFrom) & mask) << kTo for eight vectors; mask lies at the bits from kTo on.
template <class V, int kFrom, int kTo>
FARTHING_SIMD void or_plane(const typename V::I* plane, int mask, typename V::I* w) {
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    const auto moved = kFrom >= kTo ? V::template shr<(kFrom >= kTo ? kFrom - kTo : 0)>(plane[j])
                                    : V::template shl<(kFrom < kTo ? kTo - kFrom : 0)>(plane[j]);
    w[j] = V::bit_or(w[j], V::bit_and(moved, V::set1_bytes(mask)));
  }
}

// Bit 4 of the 32 values of a lane from its 32 bits `high`.
template <class V, int kQuad = 0>
FARTHING_SIMD void or_fifth_bits(typename V::I high, typename V::I* w) {
  const auto pattern = V::set1(kQuad % 2 == 0 ? 0x08040201 : static_cast<int32_t>(0x80402010u));
  w[kQuad] =
      V::or_where(w[kQuad], V::template spread_byte<kQuad / 2>(high), pattern, V::set1_bytes(16));
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

template <class V, class Block, int kOffset, bool kHasMin>
struct NibbleTile {
  using QBlock = Block;
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int kGroups = 1, kGroupsPerLoad = 1, kRaw = 4, kOffsetShift = kOffset;
  static constexpr bool kHalves = false, kMin = kHasMin, kSigned = false;

  FARTHING_SIMD void header(const Rows<V>& rows, F* scale, F* min) {
    const I factors = V::load_dwords(rows, 0);  // d and m, or d and two bytes of no use
    scale[0] = V::f16_low(factors);
    if constexpr (kMin) min[0] = f16_high<V>(factors);
  }
  FARTHING_SIMD void load(const Rows<V>& rows, int, I* raw) {
    V::load_tile(rows, FARTHING_OFFSET(Block, qs), raw);
  }
  template <int kGroup>
  FARTHING_SIMD void quads(const I* raw, I* w) {
    split_nibbles<V>(raw, w);
  }
};
template <class V>
using TileQ4_0 = NibbleTile<V, QBlockQ4_0, 3, false>;
template <class V>
using TileQ4_1 = NibbleTile<V, QBlockQ4_1, -1, true>;

template <class V, class Block, int kOffset, bool kHasMin>
struct FiveBitTile : NibbleTile<V, Block, kOffset, kHasMin> {
  using I = typename V::I;
  static constexpr int kRaw = 5;
  FARTHING_SIMD void load(const Rows<V>& rows, int, I* raw) {
    V::load_tile(rows, FARTHING_OFFSET(Block, qs), raw);
    raw[4] = V::load_dwords(rows, FARTHING_OFFSET(Block, qh));
  }
  template <int kGroup>
  FARTHING_SIMD void quads(const I* raw, I* w) {
    split_nibbles<V>(raw, w);
    or_fifth_bits<V>(raw[4], w);
  }
};
template <class V>
using TileQ5_0 = FiveBitTile<V, QBlockQ5_0, 4, false>;
template <class V>
using TileQ5_1 = FiveBitTile<V, QBlockQ5_1, -1, true>;

template <class V>
struct TileQ8_0 : NibbleTile<V, QBlockQ8_0, -1, false> {
  using I = typename V::I;
  static constexpr int kRaw = 8;
  static constexpr bool kSigned = true;
  FARTHING_SIMD void load(const Rows<V>& rows, int, I* raw) {
    V::load_tile(rows, FARTHING_OFFSET(QBlockQ8_0, qs), raw);
    V::load_tile(rows, FARTHING_OFFSET(QBlockQ8_0, qs) + 16, raw + 4);
  }
  template <int kGroup>
  FARTHING_SIMD void quads(const I* raw, I* w) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) w[j] = V::bias_signed(raw[j]);
  }
};

// Nibbles through a table of signed levels.
template <class V>
FARTHING_SIMD void look_up_levels(const int8_t (&levels)[16],
                                  const typename V::I* raw,
                                  typename V::I* w) {
  split_nibbles<V>(raw, w);
  const auto table = V::bias_signed(V::load16_repeated(levels));
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) w[j] = V::lookup(table, w[j]);
}

template <class V>
struct TileIQ4_NL : NibbleTile<V, QBlockIQ4_NL, -1, false> {
  using I = typename V::I;
  static constexpr bool kSigned = true;
  template <int kGroup>
  FARTHING_SIMD void quads(const I* raw, I* w) {
    look_up_levels<V>(kIQ4Values, raw, w);
  }
};

template <class V>
struct TileMXFP4 : NibbleTile<V, QBlockMXFP4, -1, false> {
  using I = typename V::I;
  using F = typename V::F;
  static constexpr bool kSigned = true;
  FARTHING_SIMD void header(const Rows<V>& rows, F* scale, F*) {
    const I e = V::bit_and(V::load_dwords(rows, 0), V::set1(255));
    const I normal = V::template shl<23>(V::sub(e, V::set1(1)));  // 2^(e - 128)
    const I subnormal =
        V::shl_each(V::set1(0x200000), e);  // the same where that is no normal number
    scale[0] = V::as_float(V::less_or(e, V::set1(2), subnormal, normal));
  }
  template <int kGroup>
  FARTHING_SIMD void quads(const I* raw, I* w) {
    look_up_levels<V>(kMXFP4Values, raw, w);
  }
};

// ---- 256 values per block
// -----------------------------------------------------------------------------------

// Q4_K and Q5_K: scale and -min of eight groups.
template <class V>
FARTHING_SIMD void header_k4(const Rows<V>& rows, typename V::F* scale, typename V::F* min) {
  using I = typename V::I;
  const I factors = V::load_dwords(rows, 0);
  const auto d = V::f16_low(factors);
  const auto minus_dmin = V::sub(V::zero_f(), f16_high<V>(factors));
  I packed[4];  // the 12 bytes of scales, and four of no use
  V::load_tile(rows, FARTHING_OFFSET(QBlockQ4_K, scales), packed);
  const I six = V::set1_bytes(63), four = V::set1_bytes(15), pair = V::set1_bytes(48);
  const I scale_high = V::bit_and(V::template shr<2>(packed[0]), pair);
  const I min_high = V::bit_and(V::template shr<2>(packed[1]), pair);
  scale_bytes<V>(V::bit_and(packed[0], six), d, scale);
  scale_bytes<V>(V::bit_or(V::bit_and(packed[2], four), scale_high), d, scale + 4);
  scale_bytes<V>(V::bit_and(packed[1], six), minus_dmin, min);
  scale_bytes<V>(
      V::bit_or(V::bit_and(V::template shr<4>(packed[2]), four), min_high), minus_dmin, min + 4);
}

// 32 bytes of each row.
template <class V>
FARTHING_SIMD void load_tile32(const Rows<V>& rows, int64_t offset, typename V::I* out) {
  V::load_tile(rows, offset, out);
  V::load_tile(rows, offset + 16, out + 4);
}

// The same, each dword shifted right: brings the bits of a later group to where the first one's
// were.
template <class V>
FARTHING_SIMD void load_plane(const Rows<V>& rows, int64_t offset, int shift, typename V::I* out) {
  load_tile32<V>(rows, offset, out);
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) out[j] = V::shr_by(out[j], shift);
}

template <class V>
struct TileQ4_K {
  using QBlock = QBlockQ4_K;
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int kGroups = 8, kGroupsPerLoad = 2, kRaw = 8, kOffsetShift = -1;
  static constexpr bool kHalves = false, kMin = true, kSigned = false;

  FARTHING_SIMD void header(const Rows<V>& rows, F* scale, F* min) {
    header_k4<V>(rows, scale, min);
  }
  FARTHING_SIMD void load(const Rows<V>& rows, int part, I* raw) {
    load_tile32<V>(rows, FARTHING_OFFSET(QBlock, qs) + 32 * part, raw);
  }
  template <int kGroup>
  FARTHING_SIMD void quads(const I* raw, I* w) {
    shift_and_mask<V, 4 * kGroup>(raw, 15, w);
  }
};

template <class V>
struct TileQ5_K {
  using QBlock = QBlockQ5_K;
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int kGroups = 8, kGroupsPerLoad = 2, kRaw = 16, kOffsetShift = -1;
  static constexpr bool kHalves = false, kMin = true, kSigned = false;

  FARTHING_SIMD void header(const Rows<V>& rows, F* scale, F* min) {
    header_k4<V>(rows, scale, min);
  }
  FARTHING_SIMD void load(const Rows<V>& rows, int part, I* raw) {
    load_tile32<V>(rows, FARTHING_OFFSET(QBlock, qs) + 32 * part, raw);
    load_plane<V>(rows, FARTHING_OFFSET(QBlock, qh), 2 * part, raw + 8);
  }
  template <int kGroup>
  FARTHING_SIMD void quads(const I* raw, I* w) {
    shift_and_mask<V, 4 * kGroup>(raw, 15, w);
    or_plane<V, kGroup, 4>(raw + 8, 16, w);
  }
};

template <class V>
struct TileQ6_K {
  using QBlock = QBlockQ6_K;
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int kGroups = 8, kGroupsPerLoad = 4, kRaw = 24, kOffsetShift = 5;
  static constexpr bool kHalves = true, kMin = false, kSigned = false;

  FARTHING_SIMD void header(const Rows<V>& rows, F* scale, F*) {
    // d is the block's last field: read the four bytes that end with it.
    const auto d = f16_high<V>(V::load_dwords(rows, FARTHING_OFFSET(QBlock, d) - 2));
    I packed[4];
    V::load_tile(rows, FARTHING_OFFSET(QBlock, scales), packed);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) scale_signed_bytes<V>(packed[i], d, scale + 4 * i);
  }
  FARTHING_SIMD void load(const Rows<V>& rows, int part, I* raw) {
    load_tile32<V>(rows, FARTHING_OFFSET(QBlock, ql) + 64 * part, raw);
    load_tile32<V>(rows, FARTHING_OFFSET(QBlock, ql) + 64 * part + 32, raw + 8);
    load_tile32<V>(rows, FARTHING_OFFSET(QBlock, qh) + 32 * part, raw + 16);
  }
  template <int kGroup>
  FARTHING_SIMD void quads(const I* raw, I* w) {
    shift_and_mask<V, kGroup / 2 * 4>(raw + kGroup % 2 * 8, 15, w);
    or_plane<V, 2 * kGroup, 4>(raw + 16, 48, w);
  }
};

template <class V>
struct TileQ2_K {
  using QBlock = QBlockQ2_K;
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int kGroups = 8, kGroupsPerLoad = 4, kRaw = 8, kOffsetShift = -1;
  static constexpr bool kHalves = true, kMin = true, kSigned = false;

  FARTHING_SIMD void header(const Rows<V>& rows, F* scale, F* min) {
    const I factors = V::load_dwords(rows, FARTHING_OFFSET(QBlock, d));
    const auto d = V::f16_low(factors);
    const auto minus_dmin = V::sub(V::zero_f(), f16_high<V>(factors));
    I packed[4];
    V::load_tile(rows, FARTHING_OFFSET(QBlock, scales), packed);
    const I four = V::set1_bytes(15);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      scale_bytes<V>(V::bit_and(packed[i], four), d, scale + 4 * i);
      scale_bytes<V>(V::bit_and(V::template shr<4>(packed[i]), four), minus_dmin, min + 4 * i);
    }
  }
  FARTHING_SIMD void load(const Rows<V>& rows, int part, I* raw) {
    load_tile32<V>(rows, FARTHING_OFFSET(QBlock, qs) + 32 * part, raw);
  }
  template <int kGroup>
  FARTHING_SIMD void quads(const I* raw, I* w) {
    shift_and_mask<V, 2 * kGroup>(raw, 3, w);
  }
};

template <class V>
struct TileQ3_K {
  using QBlock = QBlockQ3_K;
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int kGroups = 8, kGroupsPerLoad = 4, kRaw = 16, kOffsetShift = 2;
  static constexpr bool kHalves = true, kMin = false, kSigned = false;

  FARTHING_SIMD void header(const Rows<V>& rows, F* scale, F*) {
    const auto d = f16_high<V>(V::load_dwords(rows, FARTHING_OFFSET(QBlock, d) - 2));
    I tail[4];  // the last four bytes of qs, then the 12 of scales
    V::load_tile(rows, FARTHING_OFFSET(QBlock, scales) - 4, tail);
    const I four = V::set1_bytes(15), pair = V::set1_bytes(48);
    const I high0 = V::bit_and(V::template shl<4>(tail[3]), pair);
    const I high1 = V::bit_and(V::template shl<2>(tail[3]), pair);
    const I high2 = V::bit_and(tail[3], pair);
    const I high3 = V::bit_and(V::template shr<2>(tail[3]), pair);
    unbias(V::bit_or(V::bit_and(tail[1], four), high0), d, scale);
    unbias(V::bit_or(V::bit_and(tail[2], four), high1), d, scale + 4);
    unbias(V::bit_or(V::bit_and(V::template shr<4>(tail[1]), four), high2), d, scale + 8);
    unbias(V::bit_or(V::bit_and(V::template shr<4>(tail[2]), four), high3), d, scale + 12);
  }
  // out[b] = d * (byte b - 32)
  FARTHING_SIMD void unbias(I bytes, F d, F* out) {
    scale_bytes<V>(bytes, d, out);
    const F offset = V::mul(d, V::set1_f(-32.0f));
#pragma GCC unroll 4
    for (int b = 0; b < 4; ++b)
      out[b] = V::add(out[b], offset);  // both products and the sum are exact
  }
  FARTHING_SIMD void load(const Rows<V>& rows, int part, I* raw) {
    load_tile32<V>(rows, FARTHING_OFFSET(QBlock, qs) + 32 * part, raw);
    load_plane<V>(rows, FARTHING_OFFSET(QBlock, hmask), 4 * part, raw + 8);
  }
  template <int kGroup>
  FARTHING_SIMD void quads(const I* raw, I* w) {
    shift_and_mask<V, 2 * kGroup>(raw, 3, w);
    or_plane<V, kGroup, 2>(raw + 8, 4, w);
  }
};

template <class V>
struct TileIQ4_XS {
  using QBlock = QBlockIQ4_XS;
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int kGroups = 8, kGroupsPerLoad = 1, kRaw = 4, kOffsetShift = -1;
  static constexpr bool kHalves = false, kMin = false, kSigned = true;

  FARTHING_SIMD void header(const Rows<V>& rows, F* scale, F*) {
    const I first = V::load_dwords(rows, 0);  // d, scales_h
    const I low = V::load_dwords(rows, FARTHING_OFFSET(QBlock, scales_l));
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
  FARTHING_SIMD void load(const Rows<V>& rows, int part, I* raw) {
    V::load_tile(rows, FARTHING_OFFSET(QBlock, qs) + 16 * part, raw);
  }
  template <int kGroup>
  FARTHING_SIMD void quads(const I* raw, I* w) {
    look_up_levels<V>(kIQ4Values, raw, w);
  }
};

}  // namespace
}  // namespace farthing
