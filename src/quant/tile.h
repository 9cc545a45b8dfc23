// Tiles: how weights lie in memory for the kernels, the same for every Isa.
//
// A tile is kTileRows rows. Along k it is cut into units; a row's part of a unit is the bytes of a
// few quant blocks in an order that puts every field on a granule (4 bytes, or one value of a plain
// type); granule i of the 16 rows lies side by side, so that a vector of rows is one aligned load.
// Tiles of a matrix follow each other, rows and units that don't exist are zeroes. The bytes are
// the file's: nothing is rounded, and unpack_row() gives them back.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/format.h"

namespace farthing {

inline constexpr int64_t kTileRows = 16;

struct TileUnit {
  int64_t values;   // of a row
  int64_t bytes;    // of a row: a multiple of `granule`
  int64_t granule;  // 4, or the size of a value
};
TileUnit tile_unit(DType type);

// Bytes of one tile of `cols` columns (whole quant blocks), and of a matrix.
int64_t tile_bytes(DType type, int64_t cols);
int64_t tiled_bytes(DType type, int64_t rows, int64_t cols);

// Rows of the file's layout, n_rows <= kTileRows, to one tile; and back. `tile` is 64-byte aligned.
void pack_tile(DType type, const std::byte* rows, int64_t n_rows, int64_t cols, std::byte* tile);
void unpack_row(DType type, const std::byte* tile, int64_t row, int64_t cols, std::byte* out);

}  // namespace farthing
