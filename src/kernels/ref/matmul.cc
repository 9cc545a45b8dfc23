#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "kernels/ref/ref.h"
#include "quant/tile.h"

namespace farthing {
namespace {

// Sum in eight interleaved parts, then ((0+4)+(2+6)) + ((1+5)+(3+7)): an order fixed by n alone.
float dot(const float* a, const float* b, int64_t n) {
  std::array<float, 8> part{};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int64_t j = 0; j < 8; ++j) part[j] += a[i + j] * b[i + j];
  }
  for (int64_t j = 0; i + j < n; ++j) part[j] += a[i + j] * b[i + j];
  return ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
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
