// Floats to FP8 e4m3, as files are quantised with; the way back, which kernels take, is
// e4m3_to_f32() in base/half.h.
#pragma once

#include <bit>
#include <cstdint>

namespace farthing {

// To nearest, ties to even, of finite values; beyond +-448 they become that.
constexpr uint8_t f32_to_e4m3(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  const auto sign = static_cast<uint8_t>(bits >> 24 & 0x80u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude >= 0x43e00000u) return sign | 0x7eu;
  if (magnitude < 0x3c800000u) {  // below 2^-6: subnormal or zero, in units of 2^-9
    const float units = std::bit_cast<float>(magnitude) * 512.0f;
    return static_cast<uint8_t>(sign | (std::bit_cast<uint32_t>(units + 0x1p23f) & 0xfu));
  }
  const uint32_t odd = (magnitude >> 20) & 1u;
  return static_cast<uint8_t>(sign | ((magnitude - (120u << 23) + 0x7ffffu + odd) >> 20));
}

}  // namespace farthing
