// The slow twin against sums in double precision, written independently of it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/act.h"
#include "kernels/test_util.h"
#include "quant/tile.h"

namespace farthing {
namespace {

TEST(Ref, MatmulIsTheDotProductOfDecodedRows) {
  const KernelTable& ref = ref_kernels();
  for (const Format& f : all_formats()) {
    const int64_t rows = 21, cols = 512;
    const int32_t n_tokens = 3;
    std::vector<std::byte> weights(bytes_for(f.type, rows * cols));
    test::fill_weights(f.type, rows * cols, 11, weights.data());
    const std::vector<float> x = test::random_floats(n_tokens * cols, 12);
    std::vector<float> out(n_tokens * rows, -7.0f), decoded(rows * cols);
    f.decode(weights.data(), decoded.data(), rows * cols);
    std::vector<std::byte> tiles(static_cast<size_t>(tiled_bytes(f.type, rows, cols)) + 64);
    std::byte* aligned = tiles.data() + 64 - reinterpret_cast<uintptr_t>(tiles.data()) % 64;
    const int64_t n_tiles = (rows + kTileRows - 1) / kTileRows;
    for (int64_t t = 0; t < n_tiles; ++t) {
      const std::byte* first = weights.data() + t * kTileRows * bytes_for(f.type, cols);
      pack_tile(f.type,
                first,
                std::min(kTileRows, rows - t * kTileRows),
                cols,
                aligned + t * tile_bytes(f.type, cols));
    }
    ref.matmul[static_cast<size_t>(f.type)]({
        .tiles = aligned,
        .rows = rows,
        .cols = cols,
        .act = reinterpret_cast<const std::byte*>(x.data()),
        .act_stride = cols * 4,
        .n_tokens = n_tokens,
        .out = out.data(),
        .out_stride = rows,
        .tile_begin = 1,
        .tile_end = n_tiles,
        .accumulate = false,
        .far = 0,
    });
    for (int64_t t = 0; t < n_tokens; ++t) {
      for (int64_t r = 0; r < kTileRows; ++r)
        EXPECT_EQ(out[t * rows + r], -7.0f) << "tile 0 was not asked for";
      for (int64_t r = kTileRows; r < rows; ++r) {
        double want = 0, size = 0;
        for (int64_t k = 0; k < cols; ++k) {
          const double term = static_cast<double>(decoded[r * cols + k]) * x[t * cols + k];
          want += term;
          size += std::fabs(term);
        }
        EXPECT_NEAR(out[t * rows + r], want, size * 1e-6) << f.name;
      }
    }
  }
}

// Weights that are in both types exactly: rows that are decoded first, and tiles read as they lie.
TEST(Ref, Float32TilesHaveTheBitsOfDecodedRows) {
  const KernelTable& ref = ref_kernels();
  const int64_t rows = 21, cols = 515;
  const int32_t n_tokens = 3;
  const std::vector<float> x = test::random_floats(n_tokens * cols, 12);
  std::vector<std::byte> half(bytes_for(DType::kF16, rows * cols));
  test::fill_weights(DType::kF16, rows * cols, 11, half.data());
  std::vector<std::byte> single(bytes_for(DType::kF32, rows * cols));
  format_of(DType::kF16).decode(half.data(), reinterpret_cast<float*>(single.data()), rows * cols);
  const auto product = [&](DType type, const std::vector<std::byte>& weights, bool accumulate) {
    std::vector<std::byte> tiles(static_cast<size_t>(tiled_bytes(type, rows, cols)) + 64);
    std::byte* aligned = tiles.data() + 64 - reinterpret_cast<uintptr_t>(tiles.data()) % 64;
    const int64_t n_tiles = (rows + kTileRows - 1) / kTileRows;
    for (int64_t t = 0; t < n_tiles; ++t)
      pack_tile(type,
                weights.data() + t * kTileRows * bytes_for(type, cols),
                std::min(kTileRows, rows - t * kTileRows),
                cols,
                aligned + t * tile_bytes(type, cols));
    std::vector<float> out(n_tokens * rows, 0.3f);
    ref.matmul[static_cast<size_t>(type)]({
        .tiles = aligned,
        .rows = rows,
        .cols = cols,
        .act = reinterpret_cast<const std::byte*>(x.data()),
        .act_stride = cols * 4,
        .n_tokens = n_tokens,
        .out = out.data(),
        .out_stride = rows,
        .tile_begin = 0,
        .tile_end = n_tiles,
        .accumulate = accumulate,
        .far = 0,
    });
    return out;
  };
  for (const bool accumulate : {false, true})
    EXPECT_EQ(product(DType::kF32, single, accumulate), product(DType::kF16, half, accumulate));
}

TEST(Ref, PackedActivationsDecodeToTheirSource) {
  const std::vector<float> x = test::random_floats(96, 3, 4.0f);
  std::vector<ActGroup> groups(3);
  ref_kernels().pack_q8_32(x.data(), 96, reinterpret_cast<std::byte*>(groups.data()), 64);
  for (int g = 0; g < 3; ++g) {
    const ActGroup& a = groups[g];
    int low = 0, high = 0;
    for (int i = 0; i < 32; ++i) {
      EXPECT_NEAR(a.scale * a.q[i], x[32 * g + i], a.scale * 0.5001f);
      (i < 16 ? low : high) += a.q[i];
    }
    EXPECT_EQ(a.start_8, -8 * (low + high));
    EXPECT_EQ(a.start_128, -128 * (low + high));
    EXPECT_EQ(a.start_32_low, -32 * low);
    EXPECT_EQ(a.start_32_high, -32 * high);
    EXPECT_FLOAT_EQ(a.sum, a.scale * static_cast<float>(low + high));
    EXPECT_EQ(a.sum_low, a.scale * static_cast<float>(low));
    EXPECT_EQ(a.sum_high, a.scale * static_cast<float>(high));
  }
}

TEST(Ref, PackKeepsNansAndZeroes) {
  std::vector<float> x(64, 0.0f);
  x[40] = std::numeric_limits<float>::quiet_NaN();
  std::vector<ActGroup> groups(2);
  ref_kernels().pack_q8_32(x.data(), 64, reinterpret_cast<std::byte*>(groups.data()), 64);
  EXPECT_EQ(groups[0].scale, 0.0f);
  EXPECT_TRUE(std::isnan(groups[1].scale) && std::isnan(groups[1].sum));
}

TEST(Ref, RowFunctionsAreTheirDefinitions) {
  const int64_t n = 37;
  const std::vector<float> x = test::random_floats(n, 1, 3.0f), y = test::random_floats(n, 2);
  std::vector<float> out(n);
  const KernelTable& ref = ref_kernels();
  const double mean = std::inner_product(x.begin(), x.end(), x.begin(), 0.0) / n;
  ref.rms_norm(x.data(), y.data(), n, 1e-5f, out.data());
  for (int64_t i = 0; i < n; ++i) EXPECT_NEAR(out[i], x[i] / std::sqrt(mean + 1e-5) * y[i], 1e-5);
  ref.silu_mul(x.data(), y.data(), n, out.data());
  for (int64_t i = 0; i < n; ++i)
    EXPECT_NEAR(out[i], x[i] / (1 + std::exp(-double{x[i]})) * y[i], 1e-5);
  ref.gelu_mul(x.data(), y.data(), n, out.data());
  for (int64_t i = 0; i < n; ++i) {
    const double v = x[i];
    EXPECT_NEAR(out[i],
                0.5 * v * (1 + std::tanh(0.7978845608028654 * (v + 0.044715 * v * v * v))) * y[i],
                1e-5);
  }
  out = y;
  ref.add(x.data(), n, out.data());
  for (int64_t i = 0; i < n; ++i) EXPECT_EQ(out[i], x[i] + y[i]);
  out = x;
  ref.soft_cap(1.5f, n, out.data());
  for (int64_t i = 0; i < n; ++i) EXPECT_NEAR(out[i], 1.5 * std::tanh(x[i] / 1.5), 1e-6);
}

}  // namespace
}  // namespace farthing
