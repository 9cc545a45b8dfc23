// Q2_K to Q6_K: 256 values in sub-blocks of 16 or 32 whose small integer scales share one or two
// f16 factors.
#include "base/half.h"
#include "quant/codecs.h"
#include "quant/layout.h"

namespace farthing {
namespace {

constexpr int kSuper = 256;

template <class Block, class Fn>
void for_blocks(const std::byte* src, float* dst, int64_t n, Fn fn) {
  const Block* blocks = reinterpret_cast<const Block*>(src);
  for (int64_t b = 0; b < n / kSuper; ++b) fn(blocks[b], dst + b * kSuper);
}

// Bits of value v in a plane of two bits per value (Q2_K, Q3_K qs; Q6_K qh).
int pair_of(const uint8_t* plane, int v) {
  return plane[v / 128 * 32 + v % 32] >> (v / 32 % 4 * 2) & 3;
}
// Bit of value v in a plane of one bit per value (Q3_K hmask, Q5_K qh).
int bit_of(const uint8_t* plane, int v) {
  return plane[v % 32] >> (v / 32) & 1;
}
// Nibble of value v in Q4_K and Q5_K qs.
int nibble_of(const uint8_t* qs, int v) {
  return qs[v / 64 * 32 + v % 32] >> (v / 32 % 2 * 4) & 15;
}

}  // namespace

void decode_q2_k(const std::byte* src, float* dst, int64_t n) {
  for_blocks<QBlockQ2_K>(src, dst, n, [](const QBlockQ2_K& block, float* out) {
    const float d = f16_to_f32(block.d);
    const float dmin = f16_to_f32(block.dmin);
    for (int v = 0; v < kSuper; ++v) {
      const int packed = block.scales[v / 16];
      const float scale = d * static_cast<float>(packed & 15);
      const float min = dmin * static_cast<float>(packed >> 4);
      out[v] = scale * static_cast<float>(pair_of(block.qs, v)) - min;
    }
  });
}

void decode_q3_k(const std::byte* src, float* dst, int64_t n) {
  for_blocks<QBlockQ3_K>(src, dst, n, [](const QBlockQ3_K& block, float* out) {
    const float d = f16_to_f32(block.d);
    for (int v = 0; v < kSuper; ++v) {
      const float scale = d * static_cast<float>(scale_q3_k(block.scales, v / 16));
      const int q = pair_of(block.qs, v) | bit_of(block.hmask, v) << 2;
      out[v] = scale * static_cast<float>(q - 4);
    }
  });
}

void decode_q4_k(const std::byte* src, float* dst, int64_t n) {
  for_blocks<QBlockQ4_K>(src, dst, n, [](const QBlockQ4_K& block, float* out) {
    const float d = f16_to_f32(block.d);
    const float dmin = f16_to_f32(block.dmin);
    for (int v = 0; v < kSuper; ++v) {
      const ScaleMin s = scale_min_k4(block.scales, v / 32);
      const float scale = d * static_cast<float>(s.scale);
      out[v] =
          scale * static_cast<float>(nibble_of(block.qs, v)) - dmin * static_cast<float>(s.min);
    }
  });
}

void decode_q5_k(const std::byte* src, float* dst, int64_t n) {
  for_blocks<QBlockQ5_K>(src, dst, n, [](const QBlockQ5_K& block, float* out) {
    const float d = f16_to_f32(block.d);
    const float dmin = f16_to_f32(block.dmin);
    for (int v = 0; v < kSuper; ++v) {
      const ScaleMin s = scale_min_k4(block.scales, v / 32);
      const float scale = d * static_cast<float>(s.scale);
      const int q = nibble_of(block.qs, v) | bit_of(block.qh, v) << 4;
      out[v] = scale * static_cast<float>(q) - dmin * static_cast<float>(s.min);
    }
  });
}

void decode_q6_k(const std::byte* src, float* dst, int64_t n) {
  for_blocks<QBlockQ6_K>(src, dst, n, [](const QBlockQ6_K& block, float* out) {
    const float d = f16_to_f32(block.d);
    for (int v = 0; v < kSuper; ++v) {
      const float scale = d * static_cast<float>(block.scales[v / 16]);
      const int low = block.ql[v / 128 * 64 + v % 64] >> (v / 64 % 2 * 4) & 15;
      out[v] = scale * static_cast<float>((low | pair_of(block.qh, v) << 4) - 32);
    }
  });
}

}  // namespace farthing
