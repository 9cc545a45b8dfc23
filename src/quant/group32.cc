// Q8_0, Q4_0, Q4_1, Q5_0, Q5_1: 32 values share one f16 scale, and a f16 minimum in the "_1"
// formats.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/half.h"
#include "quant/codecs.h"
#include "quant/layout.h"

namespace farthing {
namespace {

constexpr int kGroup = 32;

// Value i of 32 nibbles in 16 bytes.
int nibble(const uint8_t* qs, int i) {
  return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;
}

// Calls fn(block, destination of its 32 values) for each block of n values.
template <class Block, class Fn>
void for_blocks(const std::byte* src, float* dst, int64_t n, Fn fn) {
  const Block* blocks = reinterpret_cast<const Block*>(src);
  for (int64_t b = 0; b < n / kGroup; ++b) fn(blocks[b], dst + b * kGroup);
}

}  // namespace

void decode_q8_0(const std::byte* src, float* dst, int64_t n) {
  for_blocks<QBlockQ8_0>(src, dst, n, [](const QBlockQ8_0& block, float* out) {
    const float d = f16_to_f32(block.d);
    for (int i = 0; i < kGroup; ++i) out[i] = d * static_cast<float>(block.qs[i]);
  });
}

void decode_q4_0(const std::byte* src, float* dst, int64_t n) {
  for_blocks<QBlockQ4_0>(src, dst, n, [](const QBlockQ4_0& block, float* out) {
    const float d = f16_to_f32(block.d);
    for (int i = 0; i < kGroup; ++i) out[i] = d * static_cast<float>(nibble(block.qs, i) - 8);
  });
}

void decode_q4_1(const std::byte* src, float* dst, int64_t n) {
  for_blocks<QBlockQ4_1>(src, dst, n, [](const QBlockQ4_1& block, float* out) {
    const float d = f16_to_f32(block.d);
    const float m = f16_to_f32(block.m);
    for (int i = 0; i < kGroup; ++i) out[i] = d * static_cast<float>(nibble(block.qs, i)) + m;
  });
}

void decode_q5_0(const std::byte* src, float* dst, int64_t n) {
  for_blocks<QBlockQ5_0>(src, dst, n, [](const QBlockQ5_0& block, float* out) {
    const float d = f16_to_f32(block.d);
    for (int i = 0; i < kGroup; ++i) {
      const int q = nibble(block.qs, i) | static_cast<int>(block.qh >> i & 1) << 4;
      out[i] = d * static_cast<float>(q - 16);
    }
  });
}

void decode_q5_1(const std::byte* src, float* dst, int64_t n) {
  for_blocks<QBlockQ5_1>(src, dst, n, [](const QBlockQ5_1& block, float* out) {
    const float d = f16_to_f32(block.d);
    const float m = f16_to_f32(block.m);
    for (int i = 0; i < kGroup; ++i) {
      const int q = nibble(block.qs, i) | static_cast<int>(block.qh >> i & 1) << 4;
      out[i] = d * static_cast<float>(q) + m;
    }
  });
}

// d = amax / 127 and q = round(x / d), halves away from zero. The integers use d before it is
// rounded to f16. A group with a NaN or an infinity decodes to NaN; one too small for its scale to
// have an inverse, to zero.
void encode_q8_0(const float* src, std::byte* dst, int64_t n) {
  QBlockQ8_0* blocks = reinterpret_cast<QBlockQ8_0*>(dst);
  for (int64_t b = 0; b < n / kGroup; ++b) {
    const float* x = src + b * kGroup;
    QBlockQ8_0& block = blocks[b];
    float amax = 0;
    bool finite = true;
    for (int i = 0; i < kGroup; ++i) {
      amax = std::max(amax, std::fabs(x[i]));
      finite = finite && std::isfinite(x[i]);
    }
    const float d = finite ? amax / 127 : std::numeric_limits<float>::quiet_NaN();
    const float inverse = 1 / d;
    const bool usable = std::isfinite(inverse);
    block.d = f32_to_f16(d);
    for (int i = 0; i < kGroup; ++i) {
      block.qs[i] = static_cast<int8_t>(usable ? std::round(x[i] * inverse) : 0.0f);
    }
  }
}

}  // namespace farthing
