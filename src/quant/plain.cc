// F32, F16, BF16: no quant blocks. Sources may be unaligned, hence memcpy.
#include <cstring>

#include "base/half.h"
#include "quant/codecs.h"

namespace farthing {
namespace {

template <auto kConvert>
void decode_u16(const std::byte* src, float* dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    uint16_t bits;
    std::memcpy(&bits, src + 2 * i, 2);
    dst[i] = kConvert(bits);
  }
}

template <auto kConvert>
void encode_u16(const float* src, std::byte* dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const uint16_t bits = kConvert(src[i]);
    std::memcpy(dst + 2 * i, &bits, 2);
  }
}

}  // namespace

void decode_f32(const std::byte* src, float* dst, int64_t n) {
  std::memcpy(dst, src, static_cast<size_t>(n) * sizeof(float));
}
void encode_f32(const float* src, std::byte* dst, int64_t n) {
  std::memcpy(dst, src, static_cast<size_t>(n) * sizeof(float));
}
void decode_f16(const std::byte* src, float* dst, int64_t n) {
  decode_u16<[](uint16_t h) { return f16_to_f32(h); }>(src, dst, n);
}
void decode_bf16(const std::byte* src, float* dst, int64_t n) {
  decode_u16<[](uint16_t b) { return bf16_to_f32(b); }>(src, dst, n);
}
void encode_f16(const float* src, std::byte* dst, int64_t n) {
  encode_u16<[](float f) { return f32_to_f16(f); }>(src, dst, n);
}
void encode_bf16(const float* src, std::byte* dst, int64_t n) {
  encode_u16<[](float f) { return f32_to_bf16(f); }>(src, dst, n);
}

}  // namespace farthing
