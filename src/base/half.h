// IEEE binary16 and bfloat16 as bit patterns, to and from float, in plain integer arithmetic.
// Rounding is to nearest, ties to even; a NaN stays a (quiet) NaN; subnormals are exact both ways.
// Always inlined: no symbol of this header may appear in an object that is compiled for one ISA.
#pragma once

#include <bit>
#include <cstdint>

namespace farthing {

[[gnu::always_inline]] constexpr float f16_to_f32(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const uint32_t exponent = (h >> 10) & 0x1fu;
  const uint32_t fraction = h & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24, exact in float
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  if (exponent == 0x1f) {
    const uint32_t quiet = fraction ? 0x400000u : 0u;
    return std::bit_cast<float>(sign | 0x7f800000u | quiet | (fraction << 13));
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
}

[[gnu::always_inline]] constexpr uint16_t f32_to_f16(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x1ffu));
  }
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u;  // >= 65520 rounds to infinity
  if (magnitude < 0x38800000u) {                // below 2^-14: subnormal or zero, in units of 2^-24
    if (magnitude <= 0x33000000u) return sign;  // <= 2^-25 rounds (to even) to zero
    const uint32_t shift = 126 - (magnitude >> 23);  // 14..24 for exponents 112..102
    const uint32_t significand = (magnitude & 0x7fffffu) | 0x800000u;
    const uint32_t below_half = (1u << (shift - 1)) - 1;
    const uint32_t odd = (significand >> shift) & 1u;
    return static_cast<uint16_t>(sign | ((significand + below_half + odd) >> shift));
  }
  const uint32_t odd = (magnitude >> 13) & 1u;
  const uint32_t rounded = magnitude - (112u << 23) + 0xfffu + odd;
  return static_cast<uint16_t>(sign | (rounded >> 13));
}

[[gnu::always_inline]] constexpr float bf16_to_f32(uint16_t b) {
  return std::bit_cast<float>(static_cast<uint32_t>(b) << 16);
}

// FP8 e4m3 (OCP 8-bit Floating Point 1.0, E4M3): bias 7, no infinities. What that calls NaN (0x7f,
// 0xff) is +-480 here: no weight is one, and a kernel need not ask.
[[gnu::always_inline]] constexpr float e4m3_to_f32(uint8_t b) {
  const auto half = static_cast<uint16_t>((b & 0x80u) << 8 | (b & 0x7fu) << 7);
  return f16_to_f32(half) * 256.0f;  // f16 has a bias of 15
}

[[gnu::always_inline]] constexpr uint16_t f32_to_bf16(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace farthing
