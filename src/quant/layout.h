// How each quantised format lies in a GGUF file: one struct per quant block, little-endian, packed,
// any alignment. `d` and `dmin` are f16 bit patterns (base/half.h). "nibbles j" of a 32-value
// block: byte i holds value i in its low and value i + 16 in its high nibble. Source of layouts:
// ggml's block structs (ggml-common.h), GGUF's spec.
#pragma once

#include <cstdint>

namespace farthing {

#define FARTHING_QBLOCK struct [[gnu::packed]]

// ---- 32 values, one scale
// -----------------------------------------------------------------------------------

FARTHING_QBLOCK QBlockQ8_0 {  // d * q
  uint16_t d;
  int8_t qs[32];
};
FARTHING_QBLOCK QBlockQ4_0 {  // d * (q - 8)
  uint16_t d;
  uint8_t qs[16];
};
FARTHING_QBLOCK QBlockQ4_1 {  // d * q + m
  uint16_t d;
  uint16_t m;
  uint8_t qs[16];
};
FARTHING_QBLOCK QBlockQ5_0 {  // d * (q - 16); bit i of qh is bit 4 of value i
  uint16_t d;
  uint32_t qh;
  uint8_t qs[16];
};
FARTHING_QBLOCK QBlockQ5_1 {  // d * q + m
  uint16_t d;
  uint16_t m;
  uint32_t qh;
  uint8_t qs[16];
};
FARTHING_QBLOCK QBlockIQ4_NL {  // d * kIQ4Values[q]
  uint16_t d;
  uint8_t qs[16];
};
FARTHING_QBLOCK QBlockMXFP4 {  // 2^(e - 128) * kMXFP4Values[q]
  uint8_t e;
  uint8_t qs[16];
};

// ---- 256 values, scales of sub-blocks ("K" formats)
// ---------------------------------------------------------

FARTHING_QBLOCK QBlockQ2_K {  // d * (scale & 15) * q - dmin * (scale >> 4), 16 values per scale
  uint8_t scales[16];
  uint8_t qs[64];  // values 128 h + 32 s + i: bits 2s of byte 32 h + i
  uint16_t d;
  uint16_t dmin;
};
FARTHING_QBLOCK QBlockQ3_K {  // d * (scale - 32) * (q - 4), 16 values per scale
  uint8_t hmask[32];          // bit v / 32 of byte v % 32 is bit 2 of value v
  uint8_t qs[64];             // as Q2_K
  uint8_t scales[12];         // 16 scales of 6 bits: low nibbles in 8 bytes, high pairs in 4
  uint16_t d;
};
FARTHING_QBLOCK QBlockQ4_K {  // d * scale * q - dmin * min, 32 values per scale
  uint16_t d;
  uint16_t dmin;
  uint8_t scales[12];  // 8 scales and 8 mins of 6 bits (scale_min_k4 below)
  uint8_t qs[128];     // values 64 c + 32 h + i: nibble h of byte 32 c + i
};
FARTHING_QBLOCK QBlockQ5_K {  // as Q4_K
  uint16_t d;
  uint16_t dmin;
  uint8_t scales[12];
  uint8_t qh[32];  // bit v / 32 of byte v % 32 is bit 4 of value v
  uint8_t qs[128];
};
FARTHING_QBLOCK QBlockQ6_K {  // d * scale * (q - 32), 16 values per scale
  uint8_t ql[128];            // values 128 h + 64 n + i: nibble n of byte 64 h + i, i < 64
  uint8_t qh[64];             // values 128 h + 32 s + i: bits 2s of byte 32 h + i are bits 4 and 5
  int8_t scales[16];
  uint16_t d;
};
FARTHING_QBLOCK QBlockIQ4_XS {  // d * (scale - 32) * kIQ4Values[q], 32 values per scale
  uint16_t d;
  uint16_t scales_h;    // bits 2s: bits 4 and 5 of scale s
  uint8_t scales_l[4];  // nibble s
  uint8_t qs[128];      // 8 times 16 bytes as in IQ4_NL
};

// ---- the types of Hugging Face folders: a scale as the folder has it, or f16 where that is exact
// ------------------------------------------------------------------------------------------

FARTHING_QBLOCK QBlockFP8 {  // d * e4m3(q)
  float d;
  uint8_t q[128];
};
FARTHING_QBLOCK QBlockINT8 {  // d * q
  float d;
  int8_t q[128];
};
template <int kGroups>
FARTHING_QBLOCK QBlockINT4 {  // d * (q - zero), nibbles 32 by 32
  uint16_t d;
  uint16_t zero;
  uint8_t qs[kGroups][16];
};

// ---- a row's part of a tile unit, where it isn't a quant block as it is (quant/tile.h)
// ------------------------------------------------------------------------------------------

FARTHING_QBLOCK UnitQ4_0 {  // also IQ4_NL
  uint16_t d[2];
  uint8_t qs[2][16];
};
FARTHING_QBLOCK UnitQ5_0 {
  uint16_t d[2];
  uint32_t qh[2];  // bit 8 (v % 4) + v / 4 is bit 4 of value v
  uint8_t qs[2][16];
};
FARTHING_QBLOCK UnitQ5_1 {
  uint16_t d;
  uint16_t m;
  uint32_t qh;  // as in UnitQ5_0
  uint8_t qs[16];
};
FARTHING_QBLOCK UnitQ8_0 {
  uint16_t d[2];
  uint8_t qs[2][32];  // value + 128
};
FARTHING_QBLOCK UnitMXFP4 {
  uint8_t e[4];
  uint8_t qs[4][16];
};
FARTHING_QBLOCK UnitINT8 {
  float d;
  uint8_t q[128];  // value + 128
};
FARTHING_QBLOCK UnitQ3_K {
  QBlockQ3_K block;
  uint16_t zero;
};
FARTHING_QBLOCK UnitQ6_K {
  QBlockQ6_K block;
  uint16_t zero;
};

#undef FARTHING_QBLOCK

static_assert(sizeof(QBlockQ8_0) == 34 && sizeof(QBlockQ4_0) == 18 && sizeof(QBlockQ4_1) == 20);
static_assert(sizeof(QBlockQ5_0) == 22 && sizeof(QBlockQ5_1) == 24);
static_assert(sizeof(QBlockIQ4_NL) == 18 && sizeof(QBlockMXFP4) == 17);
static_assert(sizeof(QBlockQ2_K) == 84 && sizeof(QBlockQ3_K) == 110 && sizeof(QBlockQ4_K) == 144);
static_assert(sizeof(QBlockQ5_K) == 176 && sizeof(QBlockQ6_K) == 210 &&
              sizeof(QBlockIQ4_XS) == 136);

static_assert(sizeof(QBlockFP8) == 132 && sizeof(QBlockINT8) == 132);
static_assert(sizeof(QBlockINT4<1>) == 20 && sizeof(QBlockINT4<4>) == 68);

// The 16 levels of IQ4_NL and IQ4_XS, and of MXFP4 (OCP Microscaling Formats 1.0, E2M1) times two.
inline constexpr int8_t kIQ4Values[16] = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
inline constexpr int8_t kMXFP4Values[16] = {
    0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

struct ScaleMin {
  uint8_t scale;
  uint8_t min;
};

// Scale and min (6 bits each) of sub-block s, 0 <= s < 8, of Q4_K and Q5_K. Bytes 0-3 and 4-7 hold
// those of sub-blocks 0-3 in their low six bits; their upper pairs and the nibbles of bytes 8-11
// make those of 4-7.
[[gnu::always_inline]] constexpr ScaleMin scale_min_k4(const uint8_t (&packed)[12], int s) {
  if (s < 4)
    return {static_cast<uint8_t>(packed[s] & 63), static_cast<uint8_t>(packed[4 + s] & 63)};
  const int t = s - 4;
  return {static_cast<uint8_t>((packed[8 + t] & 15) | (packed[t] >> 6 << 4)),
          static_cast<uint8_t>((packed[8 + t] >> 4) | (packed[4 + t] >> 6 << 4))};
}

// Scale of sub-block s, 0 <= s < 16, of Q3_K, less its offset of 32.
[[gnu::always_inline]] constexpr int scale_q3_k(const uint8_t (&packed)[12], int s) {
  const int low = (packed[s % 8] >> (s / 8 * 4)) & 15;
  const int high = (packed[8 + s % 4] >> (s / 4 * 2)) & 3;
  return (low | high << 4) - 32;
}

// Scale of sub-block s, 0 <= s < 8, of IQ4_XS, less its offset of 32.
[[gnu::always_inline]] constexpr int scale_iq4_xs(const QBlockIQ4_XS& block, int s) {
  const int low = (block.scales_l[s / 2] >> (s % 2 * 4)) & 15;
  const int high = (block.scales_h >> (2 * s)) & 3;
  return (low | high << 4) - 32;
}

// Half of 2^(e - 127): e8m0 has no zero and no sign; 0 and 1 come out subnormal.
[[gnu::always_inline]] constexpr float e8m0_half(uint8_t e) {
  return __builtin_bit_cast(float, e < 2 ? 0x200000u << e : static_cast<uint32_t>(e - 1) << 23);
}

}  // namespace farthing
