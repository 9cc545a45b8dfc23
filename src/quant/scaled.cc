// FP8, INT4_G*, INT8: the types of Hugging Face folders, a group of values with one scale. No GGUF
// has them.
#include "base/half.h"
#include "quant/codecs.h"
#include "quant/layout.h"

namespace farthing {
namespace {

template <int kGroups>
void decode_int4(const std::byte* src, float* dst, int64_t n) {
  const auto* blocks = reinterpret_cast<const QBlockINT4<kGroups>*>(src);
  for (int64_t b = 0; b < n / (32 * kGroups); ++b) {
    const float d = f16_to_f32(blocks[b].d);
    const int zero = blocks[b].zero;
    for (int g = 0; g < kGroups; ++g, dst += 32) {
      for (int i = 0; i < 16; ++i) {
        dst[i] = d * static_cast<float>((blocks[b].qs[g][i] & 15) - zero);
        dst[i + 16] = d * static_cast<float>((blocks[b].qs[g][i] >> 4) - zero);
      }
    }
  }
}

}  // namespace

void decode_fp8(const std::byte* src, float* dst, int64_t n) {
  const auto* blocks = reinterpret_cast<const QBlockFP8*>(src);
  for (int64_t b = 0; b < n / 128; ++b) {
    const float d = blocks[b].d;
    for (int i = 0; i < 128; ++i) *dst++ = d * e4m3_to_f32(blocks[b].q[i]);
  }
}

void decode_int8(const std::byte* src, float* dst, int64_t n) {
  const auto* blocks = reinterpret_cast<const QBlockINT8*>(src);
  for (int64_t b = 0; b < n / 128; ++b) {
    const float d = blocks[b].d;
    for (int i = 0; i < 128; ++i) *dst++ = d * static_cast<float>(blocks[b].q[i]);
  }
}

void decode_int4_g32(const std::byte* src, float* dst, int64_t n) {
  decode_int4<1>(src, dst, n);
}
void decode_int4_g64(const std::byte* src, float* dst, int64_t n) {
  decode_int4<2>(src, dst, n);
}
void decode_int4_g128(const std::byte* src, float* dst, int64_t n) {
  decode_int4<4>(src, dst, n);
}

}  // namespace farthing
