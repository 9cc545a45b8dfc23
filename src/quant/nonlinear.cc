// IQ4_NL, IQ4_XS, MXFP4: four bits index a table of 16 levels.
#include "base/half.h"
#include "quant/codecs.h"
#include "quant/layout.h"

namespace farthing {
namespace {

// 32 values from 16 bytes of nibbles.
void decode_levels(const uint8_t* qs, const int8_t (&levels)[16], float scale, float* out) {
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>(levels[qs[i] & 15]);
    out[i + 16] = scale * static_cast<float>(levels[qs[i] >> 4]);
  }
}

}  // namespace

void decode_iq4_nl(const std::byte* src, float* dst, int64_t n) {
  const auto* blocks = reinterpret_cast<const QBlockIQ4_NL*>(src);
  for (int64_t b = 0; b < n / 32; ++b) {
    decode_levels(blocks[b].qs, kIQ4Values, f16_to_f32(blocks[b].d), dst + b * 32);
  }
}

void decode_iq4_xs(const std::byte* src, float* dst, int64_t n) {
  const auto* blocks = reinterpret_cast<const QBlockIQ4_XS*>(src);
  for (int64_t b = 0; b < n / 256; ++b) {
    const float d = f16_to_f32(blocks[b].d);
    for (int s = 0; s < 8; ++s) {
      const float scale = d * static_cast<float>(scale_iq4_xs(blocks[b], s));
      decode_levels(blocks[b].qs + 16 * s, kIQ4Values, scale, dst + b * 256 + 32 * s);
    }
  }
}

void decode_mxfp4(const std::byte* src, float* dst, int64_t n) {
  const auto* blocks = reinterpret_cast<const QBlockMXFP4*>(src);
  for (int64_t b = 0; b < n / 32; ++b) {
    decode_levels(blocks[b].qs, kMXFP4Values, e8m0_half(blocks[b].e), dst + b * 32);
  }
}

}  // namespace farthing
