#include "quant/tile.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

namespace farthing {
namespace {

class TileOf : public testing::TestWithParam<Format> {};

std::vector<std::byte> random_bytes(int64_t n) {
  std::mt19937 random(static_cast<uint32_t>(n));
  std::vector<std::byte> bytes(static_cast<size_t>(n));
  for (std::byte& b : bytes) b = static_cast<std::byte>(random());
  return bytes;
}

TEST_P(TileOf, RowsComeBackByteForByte) {
  const Format& f = GetParam();
  for (int64_t n_blocks : {1, 2, 3, 5}) {
    const int64_t cols = n_blocks * f.qblock_values;
    const int64_t row_bytes = bytes_for(f.type, cols);
    for (int64_t n_rows : {1, 7, 16}) {
      const std::vector<std::byte> rows = random_bytes(n_rows * row_bytes);
      std::vector<std::byte> tile(static_cast<size_t>(tile_bytes(f.type, cols)) + 64);
      std::byte* aligned = tile.data() + (64 - reinterpret_cast<uintptr_t>(tile.data()) % 64);
      std::fill(tile.begin(), tile.end(), std::byte{0xee});
      pack_tile(f.type, rows.data(), n_rows, cols, aligned);
      std::vector<std::byte> row(static_cast<size_t>(row_bytes));
      for (int64_t r = 0; r < kTileRows; ++r) {
        unpack_row(f.type, aligned, r, cols, row.data());
        const std::byte* want = rows.data() + r * row_bytes;
        if (r < n_rows) {
          ASSERT_EQ(std::memcmp(row.data(), want, row.size()), 0) << f.name << " row " << r;
        }
      }
    }
  }
}

TEST_P(TileOf, HoldsNothingButTheFilesBytesAndPadding) {
  const Format& f = GetParam();
  const TileUnit unit = tile_unit(f.type);
  EXPECT_EQ(unit.values % f.qblock_values, 0);
  EXPECT_EQ(unit.bytes % unit.granule, 0);
  EXPECT_LE(unit.bytes - bytes_for(f.type, unit.values), 2) << "bytes of padding in a unit";
  EXPECT_EQ(tile_bytes(f.type, 4 * unit.values), 64 * unit.bytes);
  EXPECT_EQ(tiled_bytes(f.type, 17, unit.values), 2 * tile_bytes(f.type, unit.values));
}

TEST_P(TileOf, RowsAndUnitsThatDoNotExistAreZeroes) {
  const Format& f = GetParam();
  if (f.qblock_values == 1) return;
  const TileUnit unit = tile_unit(f.type);
  const int64_t cols = f.qblock_values;  // less than a unit for some types
  alignas(64) static std::byte tile[16384];
  std::memset(tile, 0xee, sizeof tile);
  const std::vector<std::byte> rows(static_cast<size_t>(3 * bytes_for(f.type, cols)),
                                    std::byte{0xff});
  pack_tile(f.type, rows.data(), 3, cols, tile);
  for (int64_t line = 0; line < unit.bytes / unit.granule; ++line) {
    for (int64_t r = 3; r < kTileRows; ++r) {
      uint32_t dword;
      std::memcpy(&dword, tile + (line * kTileRows + r) * 4, 4);
      // A biased format's zero is 128.
      ASSERT_TRUE(dword == 0 || (f.type == DType::kQ8_0 && dword == 0x80808080u)) << f.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats,
                         TileOf,
                         testing::ValuesIn(all_formats().begin(), all_formats().end()),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace farthing
