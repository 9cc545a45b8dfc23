#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "kernels/ref/ref.h"
#include "quant/tile.h"

namespace farthing {
namespace {

float sum(const std::array<float, 8>& part) {
  return ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
}

// Sum in eight interleaved parts, then ((0+4)+(2+6)) + ((1+5)+(3+7)): an order fixed by n alone.
float dot(const float* a, const float* b, int64_t n) {
  std::array<float, 8> part{};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int64_t j = 0; j < 8; ++j) part[j] += a[i + j] * b[i + j];
  }
  for (int64_t j = 0; i + j < n; ++j) part[j] += a[i + j] * b[i + j];
  return sum(part);
}

template <DType kType>
void matmul(const MatmulTask& task) {
  const int64_t tile_size = tile_bytes(kType, task.cols);
  std::vector<std::byte> bytes(static_cast<size_t>(bytes_for(kType, task.cols)));
  std::vector<float> row(static_cast<size_t>(task.cols));
  const int64_t end = std::min(task.tile_end * kTileRows, task.rows);
  for (int64_t r = task.tile_begin * kTileRows; r < end; ++r) {
    const std::byte* tile = task.tiles + r / kTileRows * tile_size;
    unpack_row(kType, tile, r % kTileRows, task.cols, bytes.data());
    format_of(kType).decode(bytes.data(), row.data(), task.cols);
    for (int32_t t = 0; t < task.n_tokens; ++t) {
      const float* x = reinterpret_cast<const float*>(task.act + t * task.act_stride);
      float& out = task.out[t * task.out_stride + r];
      out = (task.accumulate ? out : 0.0f) + dot(row.data(), x, task.cols);
    }
  }
}

// Nothing is to be decoded: a tile's rows where they lie side by side, each in the order of dot().
// The bottom of `farthing ladder` runs on this, which should be slow for what it does, not for
// moving its weights about.
template <>
void matmul<DType::kF32>(const MatmulTask& task) {
  const int64_t tile_size = tile_bytes(DType::kF32, task.cols);
  for (int64_t tile = task.tile_begin; tile < task.tile_end; ++tile) {
    const float* w = reinterpret_cast<const float*>(task.tiles + tile * tile_size);
    const int64_t n_rows = std::min(kTileRows, task.rows - tile * kTileRows);
    for (int32_t t = 0; t < task.n_tokens; ++t) {
      const float* x = reinterpret_cast<const float*>(task.act + t * task.act_stride);
      std::array<std::array<float, kTileRows>, 8> parts{};
      for (int64_t k = 0; k < task.cols; ++k) {
        for (int64_t r = 0; r < kTileRows; ++r) parts[k % 8][r] += w[k * kTileRows + r] * x[k];
      }
      float* out = task.out + t * task.out_stride + tile * kTileRows;
      for (int64_t r = 0; r < n_rows; ++r) {
        std::array<float, 8> part;
        for (int64_t j = 0; j < 8; ++j) part[j] = parts[j][r];
        out[r] = (task.accumulate ? out[r] : 0.0f) + sum(part);
      }
    }
  }
}

template <size_t... kTypes>
constexpr std::array<MatmulFn, kDTypeCount> all_matmuls(std::index_sequence<kTypes...>) {
  return {matmul<static_cast<DType>(kTypes)>...};
}

}  // namespace

MatmulFn ref_matmul(DType type) {
  static constexpr auto kMatmuls = all_matmuls(std::make_index_sequence<kDTypeCount>());
  return kMatmuls[static_cast<size_t>(type)];
}

}  // namespace farthing
