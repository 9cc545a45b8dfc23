#include "model/linear.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked.h"

namespace farthing {
namespace {

constexpr int64_t kTileRows = 16;  // the unit of work that a thread takes

int64_t tiles_of(const Projection& p) {
  return ceil_div(p.weight->rows, kTileRows);
}

constexpr int64_t kGroup = 32;  // values that share an activation scale

int64_t packed_bytes(ActFormat format, int64_t max_tokens, int64_t max_cols) {
  if (format == ActFormat::kF32) return 0;  // used as they are
  return max_tokens * act_bytes(format, round_up(max_cols, kGroup));
}

}  // namespace

Result<Linear> Linear::create(int64_t max_tokens, int64_t max_cols) {
  Linear linear;
  for (size_t f = 0; f < kActFormatCount; ++f) {
    const int64_t bytes = packed_bytes(static_cast<ActFormat>(f), max_tokens, max_cols);
    FARTHING_TRY(linear.packed_[f], Buffer::allocate(static_cast<size_t>(bytes)));
  }
  return linear;
}

int64_t Linear::bytes_needed(int64_t max_tokens, int64_t max_cols) {
  int64_t bytes = 0;
  for (size_t f = 0; f < kActFormatCount; ++f) {
    bytes += packed_bytes(static_cast<ActFormat>(f), max_tokens, max_cols);
  }
  return bytes;
}

void Linear::apply(const Exec& exec,
                   Matrix<const float> x,
                   std::span<const Projection> projections) {
  const KernelTable& kernels = *exec.kernels;
  auto format_for = [&](const Projection& p) {
    return kernels.act_format[static_cast<size_t>(p.weight->type)];
  };
  std::array<bool, kActFormatCount> wanted{};
  int64_t n_tiles = 0;
  for (const Projection& p : projections) {
    CHECK(p.weight->cols == x.cols);
    wanted[static_cast<size_t>(format_for(p))] = true;
    n_tiles += tiles_of(p);
  }
  wanted[static_cast<size_t>(ActFormat::kF32)] = false;

  for (size_t f = 0; f < kActFormatCount; ++f) {
    if (!wanted[f]) continue;
    const int64_t stride = act_bytes(static_cast<ActFormat>(f), x.cols);
    exec.team->parallel_for(x.rows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        kernels.pack_act[f](x.row(t), x.cols, packed_[f].data() + t * stride);
      }
    });
  }

  exec.team->parallel_for(n_tiles, 1, [&](int64_t begin, int64_t end) {
    int64_t first_tile = 0;  // of the projection at hand
    for (const Projection& p : projections) {
      const int64_t from = std::max(begin, first_tile) - first_tile;
      const int64_t to = std::min(end, first_tile + tiles_of(p)) - first_tile;
      first_tile += tiles_of(p);
      if (from >= to) continue;
      const ActFormat format = format_for(p);
      const bool plain = format == ActFormat::kF32;
      MatmulTask task{
          .weights = p.weight->data,
          .row_bytes = p.weight->row_bytes(),
          .cols = x.cols,
          .act = plain ? reinterpret_cast<const std::byte*>(x.data)
                       : packed_[static_cast<size_t>(format)].data(),
          .act_stride =
              plain ? x.stride * static_cast<int64_t>(sizeof(float)) : act_bytes(format, x.cols),
          .n_tokens = static_cast<int32_t>(x.rows),
          .out = p.out.data,
          .out_stride = p.out.stride,
          .row_begin = from * kTileRows,
          .row_end = std::min(to * kTileRows, p.weight->rows),
      };
      kernels.matmul[static_cast<size_t>(p.weight->type)](task);
      if (p.bias.empty()) continue;
      for (int64_t t = 0; t < x.rows; ++t) {
        kernels.add(p.bias.data() + task.row_begin,
                    task.row_end - task.row_begin,
                    p.out.row(t) + task.row_begin);
      }
    }
  });
}

}  // namespace farthing
