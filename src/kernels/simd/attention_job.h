// A task of attention, or some of its queries, as the kernels see it: where its parts of the
// scratch are, which positions its queries see, block by block.
#pragma once

#include "kernels/attention_task.h"

namespace farthing {
namespace {

// Positions or slots [from, end).
struct Range {
  int32_t from, end;
  bool empty() const { return from >= end; }
};
FARTHING_SIMD int32_t lower(int32_t a, int32_t b) {
  return a < b ? a : b;
}
FARTHING_SIMD int32_t higher(int32_t a, int32_t b) {
  return a > b ? a : b;
}
// What of `a` is in `b`, counted from b's start.
FARTHING_SIMD Range within(Range a, Range b) {
  return {higher(a.from, b.from) - b.from, lower(a.end, b.end) - b.from};
}

// Query i is head i % n_heads of row i / n_heads.
struct AttentionJob {
  explicit AttentionJob(const AttentionTask& t)
      : task(t),
        queries(t.n_rows * t.n_heads),
        part_stride(attention_part_floats(t.head_dim)),
        packed(t.scratch),
        wide(t.scratch + layout(t).wide),
        parts(t.scratch + layout(t).parts),
        merged(t.scratch + layout(t).merged),
        scores(t.scratch + layout(t).scores) {}
  static AttentionScratch layout(const AttentionTask& t) {
    return AttentionScratch(t.n_rows * t.n_heads, t.head_dim, 0);
  }

  // The positions that the row of query i sees.
  Range seen(int32_t i) const {
    const int32_t position = task.position + i / task.n_heads;
    return {attention_begin(position, task.window), position + 1};
  }
  // ... that any of them sees.
  Range seen() const { return {seen(0).from, seen(queries - 1).end}; }

  const float* query(int32_t i) const {
    return task.q + i / task.n_heads * task.q_stride + int64_t{i % task.n_heads} * task.head_dim;
  }
  const std::byte* k_plane(int32_t block) const { return plane(task.k_plane, block); }
  const std::byte* v_plane(int32_t block) const { return plane(task.v_plane, block); }
  const std::byte* plane(const std::byte* first, int32_t block) const {
    return first + static_cast<int64_t>(task.blocks[block].v) * task.block_stride;
  }

  const AttentionTask& task;
  int32_t queries;
  int64_t part_stride;
  float *packed, *wide, *parts, *merged, *scores;
};

// Calls fn(block's positions, its index, the index of the next one or -1) for each block of the
// range.
template <class Fn>
FARTHING_SIMD void for_blocks(Range positions, Fn fn) {
  const int32_t last = (positions.end - 1) / kKVBlockTokens;
  for (int32_t b = positions.from / kKVBlockTokens; b <= last; ++b) {
    const int32_t start = b * kKVBlockTokens;
    fn(Range{start, start + kKVBlockTokens}, b, b < last ? b + 1 : -1);
  }
}

}  // namespace
}  // namespace farthing
