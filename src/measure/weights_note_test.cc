#include "measure/weights_note.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "base/half.h"

namespace farthing {
namespace {

constexpr int64_t kRows = 40, kCols = 128;

TensorView matrix(DType type, std::span<const std::byte> bytes) {
  return {.name = "blk.0.attn_q.weight",
          .type = type,
          .dims = {kCols, kRows, 1, 1},
          .n_dims = 2,
          .bytes = bytes};
}

std::vector<float> normal_values() {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(kRows * kCols);
  for (float& x : values) x = normal(random);
  return values;
}

std::string note_of_floats(const std::vector<float>& values) {
  const TensorView tensor = matrix(DType::kF32, std::as_bytes(std::span(values)));
  return weights_note("toy", {&tensor, 1});
}

TEST(WeightsNote, TrainedFloatsNeedNone) {
  std::vector<float> values = normal_values();
  EXPECT_EQ(note_of_floats(values), "");
  for (float& x : values) x = f16_to_f32(f32_to_f16(x));
  EXPECT_EQ(note_of_floats(values), "");
  for (float& x : values) x = bf16_to_f32(f32_to_bf16(x));
  EXPECT_EQ(note_of_floats(values), "");
  EXPECT_EQ(weights_note("toy", {}), "");
}

TEST(WeightsNote, FloatsThatWereFourBits) {
  std::vector<float> values = normal_values();
  for (size_t at = 0; at < values.size(); at += 32) {
    const auto group = std::span(values).subspan(at, 32);
    const auto [low, high] = std::ranges::minmax(group);
    const float step = (high - low) / 15;
    for (float& x : group) x = low + step * std::round((x - low) / step);
  }
  EXPECT_EQ(note_of_floats(values), "toy: floats on a 4-bit grid (a dequantised file)");
}

// By the type of most values; vectors don't count.
TEST(WeightsNote, QuantisedFiles) {
  const std::vector<std::byte> bytes(static_cast<size_t>(kRows * kCols * 4));
  const auto of = [&](DType type) {
    return matrix(type,
                  std::span(bytes).first(static_cast<size_t>(bytes_for(type, kRows * kCols))));
  };
  const std::vector<TensorView> mixed = {of(DType::kQ4_1), of(DType::kQ8_0), of(DType::kQ4_1)};
  EXPECT_EQ(weights_note("llama 135M Q4_1", mixed), "llama 135M Q4_1: a 4-bit file");
  const std::vector<TensorView> eight = {of(DType::kQ8_0)};
  EXPECT_EQ(weights_note("x", eight), "x: an 8-bit file");
  TensorView vector = of(DType::kQ8_0);
  vector.dims = {kCols * kRows, 1, 1, 1};
  EXPECT_EQ(weights_note("x", {&vector, 1}), "");
}

}  // namespace
}  // namespace farthing
