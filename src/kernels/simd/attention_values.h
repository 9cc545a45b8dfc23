// What attention does with values of one type: adds them up, by weights, and writes the sums.
#pragma once

#include "kernels/simd/attention_job.h"
#include "kernels/simd/attention_tiles.h"
#include "kernels/simd/hadamard.h"

namespace farthing {
namespace {

template <class V, KVType kType>
struct AttentionValues {
  using F = typename V::F;
  using Tiles = AttentionTiles<V>;
  static constexpr int32_t kLanes = V::kLanes;
  static constexpr int32_t kGroup = Tiles::kGroup;
  static constexpr int32_t kScoreStride = Tiles::kScoreStride;

  // A block's values: as they are stored, or in f32.
  struct Rows {
    const std::byte* stored;
    const float* wide;  // nullptr: take the stored ones
    KVPlane plane;
    const std::byte* ahead;
    int32_t columns;
  };

  // Weighted sums of the positions' values into the parts.
  static void add(const AttentionJob& job, Range positions) {
    const AttentionTask& task = job.task;
    const bool whole = task.head_dim % (kType == KVType::kInt4 ? kInt4Piece : kLanes) == 0;
    const bool direct = whole && (kType == KVType::kF32 || job.queries <= kGroup);
    const int32_t first = positions.from / kKVBlockTokens;
    const KVPlane plane = kv_v_plane(kType, task.head_dim);
    const int32_t columns = (task.head_dim + kLanes - 1) / kLanes * kLanes;
    for_blocks(positions, [&](Range block, int32_t b, int32_t next) {
      const std::byte* v = job.v_plane(b);
      // After the last block, the next segment's K, if there is one.
      const bool more = next < 0 && (b + 1) * kKVBlockTokens < job.seen().end;
      const std::byte* ahead = next >= 0 ? job.v_plane(next) : more ? job.k_plane(b + 1) : v;
      if (!direct) {
        const Range any = within(job.seen(), block);
        Tiles::template widen_rows<kType>(
            {v, plane.row_bytes, ahead, columns}, task.head_dim, any.from, any.end, job.wide);
      }
      const Rows rows{v, direct ? nullptr : job.wide, plane, ahead, columns};
      const int64_t slot = int64_t{b - first} * kKVBlockTokens;
      for (int32_t i = 0; i < job.queries; i += kGroup) {
        const int32_t n = lower(kGroup, job.queries - i);
        add_together(job, i, n, block, [&](int32_t j, int32_t count, Range slots) {
          if (slots.empty()) return;
          const float* weights = job.scores + int64_t{j} * kScoreStride + slot;
          float* out = job.parts + j * job.part_stride + kPartHeader;
          add_scaled(rows, count, weights, slots, out, job.part_stride);
        });
      }
    });
  }
  // Together what all queries of a group see of a block; before and after that, each alone.
  template <class Add>
  FARTHING_SIMD void add_together(
      const AttentionJob& job, int32_t i, int32_t n, Range block, Add add) {
    const Range first = within(job.seen(i), block), last = within(job.seen(i + n - 1), block);
    const Range common{last.from, first.end};
    if (first.from == last.from && first.end == last.end) return add(i, n, first);
    if (common.empty()) {
      for (int32_t j = i; j < i + n; ++j) add(j, 1, within(job.seen(j), block));
      return;
    }
    for (int32_t j = i; j < i + n; ++j) add(j, 1, {within(job.seen(j), block).from, common.from});
    add(i, n, common);
    for (int32_t j = i; j < i + n; ++j) add(j, 1, {common.end, within(job.seen(j), block).end});
  }
  // The channels of one scale after those of the other, by weights that have it in them.
  static void add_scaled(const Rows& rows,
                         int32_t n,
                         const float* weights,
                         Range slots,
                         float* out,
                         int64_t out_stride) {
    if constexpr (!kv_is_scaled(kType)) {
      add_columns(rows, n, weights, slots, 0, rows.columns, out, out_stride);
    } else {
      constexpr int32_t kChannels = kv_scale_channels(kType);
      alignas(64) float scaled[int64_t{kGroup} * kScoreStride];
      const std::byte* scales = rows.stored + rows.plane.scales_at;
      for (int32_t c = 0; c < rows.columns; c += kChannels, scales += 2 * kKVBlockTokens) {
        Tiles::scale(n, weights, scales, scaled);
        const int32_t end = lower(c + kChannels, rows.columns);
        add_columns(rows, n, scaled, slots, c, end, out, out_stride);
      }
    }
  }
  FARTHING_SIMD void add_columns(const Rows& rows,
                                 int32_t n,
                                 const float* weights,
                                 Range slots,
                                 int32_t from,
                                 int32_t end,
                                 float* out,
                                 int64_t out_stride) {
    if (rows.wide == nullptr) {
      const int64_t at = kType == KVType::kInt4 ? from / 2 : from * kv_value_bytes(kType);
      Tiles::template add_of<kType>(
          n,
          {rows.stored + at, rows.plane.row_bytes, rows.ahead + at, end - from},
          weights,
          slots.from,
          slots.end,
          out + from,
          out_stride);
    } else {
      const std::byte* wide = reinterpret_cast<const std::byte*>(rows.wide + from);
      Tiles::template add_of<KVType::kF32>(n,
                                           {wide, int64_t{rows.columns} * 4, wide, end - from},
                                           weights,
                                           slots.from,
                                           slots.end,
                                           out + from,
                                           out_stride);
    }
  }

  static void write(const AttentionTask& task, int32_t i, const float* sum) {
    float* out =
        task.out + i / task.n_heads * task.out_stride + int64_t{i % task.n_heads} * task.head_dim;
    const F total = V::set1_f(sum[1]);
    for (int32_t c = 0; c < task.head_dim; c += kLanes) {
      V::store(out + c,
               V::div(V::load(sum + kPartHeader + c), total),
               V::first_lanes(task.head_dim - c));
    }
    if constexpr (kv_is_scaled(kType)) hadamard<V>(out, task.head_dim);
  }
};

}  // namespace
}  // namespace farthing
