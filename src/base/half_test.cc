#include "base/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "base/e4m3.h"

namespace farthing {
namespace {

// The compiler's own binary16 is the independent twin.
float twin_f16_to_f32(uint16_t h) {
  return static_cast<float>(std::bit_cast<_Float16>(h));
}
uint16_t twin_f32_to_f16(float f) {
  return std::bit_cast<uint16_t>(static_cast<_Float16>(f));
}

TEST(Half, EveryF16DecodesExactly) {
  for (uint32_t h = 0; h <= 0xffff; ++h) {
    const float got = f16_to_f32(static_cast<uint16_t>(h));
    const float want = twin_f16_to_f32(static_cast<uint16_t>(h));
    if (std::isnan(want)) {
      EXPECT_TRUE(std::isnan(got)) << h;
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(want)) << h;
      ASSERT_EQ(f32_to_f16(got), h);
    }
  }
}

TEST(Half, F16RoundsToNearestEven) {
  std::vector<uint32_t> bits;
  std::mt19937 random(1);
  for (int i = 0; i < 200000; ++i) bits.push_back(random());
  // Every f16 value's two neighbours half way, and one float step to each side of those.
  for (uint32_t h = 0; h < 0x7c00; ++h) {
    const uint32_t low = std::bit_cast<uint32_t>(f16_to_f32(static_cast<uint16_t>(h)));
    const float next = h == 0x7bff ? 65536.0f : f16_to_f32(static_cast<uint16_t>(h + 1));
    const float middle = (std::bit_cast<float>(low) + next) / 2;
    for (uint32_t step : {0u, 1u, ~0u}) {
      bits.push_back(std::bit_cast<uint32_t>(middle) + step);
      bits.push_back((std::bit_cast<uint32_t>(middle) + step) | 0x80000000u);
    }
  }
  for (uint32_t b : bits) {
    const float f = std::bit_cast<float>(b);
    const uint16_t got = f32_to_f16(f);
    if (std::isnan(f)) {
      ASSERT_TRUE(std::isnan(f16_to_f32(got))) << b;
    } else {
      ASSERT_EQ(got, twin_f32_to_f16(f)) << f;
    }
  }
}

TEST(Half, Bf16IsTheUpperHalfRoundedToNearestEven) {
  for (uint32_t h = 0; h <= 0xffff; ++h) {
    const float f = bf16_to_f32(static_cast<uint16_t>(h));
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(f))));
    } else {
      ASSERT_EQ(f32_to_bf16(f), h);
    }
  }
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x3f808000u)), 0x3f80);  // tie, even stays
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x3f818000u)), 0x3f82);  // tie, odd goes up
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x7f7fffffu)), 0x7f80);  // overflows to infinity
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x7f800001u)) & 0x7fc0, 0x7fc0);
}

TEST(Half, E4m3RoundsToNearestEven) {
  for (int code = 0; code < 127; ++code) {
    const auto low = static_cast<uint8_t>(code);
    const float value = e4m3_to_f32(low);
    EXPECT_EQ(f32_to_e4m3(value), low);
    EXPECT_EQ(f32_to_e4m3(-value), low | 0x80);
    if (code == 126) break;
    const float middle = (value + e4m3_to_f32(static_cast<uint8_t>(code + 1))) / 2;
    EXPECT_EQ(f32_to_e4m3(middle), code + code % 2) << code;
    EXPECT_EQ(f32_to_e4m3(std::nextafter(middle, 0.0f)), code);
    EXPECT_EQ(f32_to_e4m3(std::nextafter(middle, 500.0f)), code + 1);
  }
  EXPECT_EQ(f32_to_e4m3(460.0f), 0x7e);
  EXPECT_EQ(f32_to_e4m3(-1e30f), 0xfe);
}

}  // namespace
}  // namespace farthing
