// Attention of some rows and the query heads of one KV head: segment by segment, all scores of a
// segment, their softmax, the weighted sum of its values. With more queries than fit in registers
// at once, each block is widened to f32 once and read from L1 by all of them.
#pragma once

#include <cstring>

#include "kernels/simd/attention_tiles.h"
#include "kernels/simd/exp.h"
#include "kernels/simd/hadamard.h"

namespace farthing {
namespace {

template <class V, KVType kType>
struct Attention {
  using F = typename V::F;
  using Tiles = AttentionTiles<V>;
  static constexpr int32_t kLanes = V::kLanes;
  static constexpr int32_t kGroup = Tiles::kGroup;
  static constexpr int32_t kScoreStride = Tiles::kScoreStride;
  static constexpr float kLog2E = 1.44269504088896341f;

  // Positions or slots [from, end).
  struct Range {
    int32_t from, end;
    bool empty() const { return from >= end; }
  };
  FARTHING_SIMD int32_t lower(int32_t a, int32_t b) { return a < b ? a : b; }
  FARTHING_SIMD int32_t higher(int32_t a, int32_t b) { return a > b ? a : b; }
  // What of `a` is in `b`, counted from b's start.
  FARTHING_SIMD Range within(Range a, Range b) {
    return {higher(a.from, b.from) - b.from, lower(a.end, b.end) - b.from};
  }

  // A task, or some of its queries; query i is head i % n_heads of row i / n_heads.
  struct Job {
    explicit Job(const AttentionTask& t)
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

    const AttentionTask& task;
    int32_t queries;
    int64_t part_stride;
    float *packed, *wide, *parts, *merged, *scores;
  };

  // ---- the steps ----

  // Scale and log2(e) go into q: the softmax computes powers of 2. With a soft cap, log2(e) follows
  // after it.
  static void pack(const Job& job) {
    const AttentionTask& task = job.task;
    const float factor = task.softcap > 0 ? task.scale : task.scale * kLog2E;
    for (int32_t i = 0; i < job.queries; ++i) {
      const float* q =
          task.q + i / task.n_heads * task.q_stride + int64_t{i % task.n_heads} * task.head_dim;
      float* out = job.packed + int64_t{i / kGroup} * task.head_dim * kGroup + i % kGroup;
      alignas(64) float transformed[kMaxHeadDim];
      if constexpr (kType == KVType::kInt8) {
        std::memcpy(transformed, q, static_cast<size_t>(task.head_dim) * sizeof(float));
        hadamard<V>(transformed, task.head_dim);
        q = transformed;
      }
      for (int32_t d = 0; d < task.head_dim; ++d) out[int64_t{d} * kGroup] = q[d] * factor;
    }
  }

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
  FARTHING_SIMD const std::byte* plane(const AttentionTask& task,
                                       const std::byte* first,
                                       int32_t block) {
    return first + static_cast<int64_t>(task.blocks[block].v) * task.block_stride;
  }

  // Scores of the positions, query i's from job.scores + i * kScoreStride on, in slots that count
  // from the first block.
  static void score(const Job& job, Range positions) {
    const AttentionTask& task = job.task;
    const bool direct = kType == KVType::kF32 || job.queries <= kGroup;
    const int32_t first = positions.from / kKVBlockTokens;
    for_blocks(positions, [&](Range block, int32_t b, int32_t next) {
      const std::byte* k = plane(task, task.k_plane, b);
      const std::byte* ahead =
          next >= 0 ? plane(task, task.k_plane, next) : plane(task, task.v_plane, first);
      if (!direct) {
        Tiles::template widen<kType>(k, int64_t{task.head_dim} * kKVBlockTokens, ahead, job.wide);
      }
      for (int32_t i = 0; i < job.queries; i += kGroup) {
        const int32_t n = lower(kGroup, job.queries - i);
        if (within({job.seen(i).from, job.seen(i + n - 1).end}, block).empty()) continue;
        const float* q = job.packed + int64_t{i} * task.head_dim;
        float* scores =
            job.scores + int64_t{i} * kScoreStride + int64_t{b - first} * kKVBlockTokens;
        const std::byte* wide = reinterpret_cast<const std::byte*>(job.wide);
        if (direct) {
          Tiles::template dots_of<kType>(n, q, k, task.head_dim, scores, ahead);
        } else {
          Tiles::template dots_of<KVType::kF32>(n, q, wide, task.head_dim, scores, wide);
        }
        if constexpr (kType == KVType::kInt8) {
          Tiles::rescale(n, k + kv_scales_at(kType, task.head_dim), scores);
        }
      }
    });
  }

  // Scores of slots [from, end) to weights 2^(score - highest); their highest and total to the
  // part.
  static void soften(float* scores, Range slots, float softcap, float* part) {
    const int32_t first = slots.from / kLanes, last = (slots.end - 1) / kLanes;
    const auto partial = [&](int32_t v) {
      return v * kLanes < slots.from || (v + 1) * kLanes > slots.end;
    };
    const auto counted = [&](int32_t v) {
      return V::lanes(slots.from - v * kLanes, slots.end - v * kLanes);
    };
    if (softcap > 0) {
      const F cap = V::set1_f(softcap), after = V::set1_f(softcap * kLog2E);
      for (int32_t v = first; v <= last; ++v) {
        const F s = V::load(scores + v * kLanes);
        V::store(scores + v * kLanes, V::mul(after, tanh<V>(V::div(s, cap))));
      }
    }
    const F nothing = V::set1_f(-__builtin_inff());
    F top = nothing;
    for (int32_t v = first; v <= last; ++v) {
      F s = V::load(scores + v * kLanes);
      if (partial(v)) s = V::select(counted(v), s, nothing);
      top = V::max(top, s);
    }
    part[0] = V::largest(top);
    const F highest = V::set1_f(part[0]);
    F total = V::zero_f();
    for (int32_t v = first; v <= last; ++v) {
      F weight = exp2_weight<V>(V::sub(V::load(scores + v * kLanes), highest));
      if (partial(v)) weight = V::select(counted(v), weight, V::zero_f());
      V::store(scores + v * kLanes, weight);
      total = V::add(total, weight);
    }
    part[1] = V::sum(total);
  }

  // Weighted sums of the positions' values into the parts, which start at 0.
  static void add_values(const Job& job, Range positions) {
    const AttentionTask& task = job.task;
    const bool whole = task.head_dim % kLanes == 0;
    const bool direct = whole && (kType == KVType::kF32 || job.queries <= kGroup);
    const int32_t first = positions.from / kKVBlockTokens;
    const int32_t columns = (task.head_dim + kLanes - 1) / kLanes * kLanes;
    for_blocks(positions, [&](Range block, int32_t b, int32_t next) {
      const std::byte* v = plane(task, task.v_plane, b);
      // After the last block, the next segment's K, if there is one.
      const bool more = next < 0 && (b + 1) * kKVBlockTokens < job.seen().end;
      const std::byte* ahead = next >= 0 ? plane(task, task.v_plane, next)
                               : more    ? plane(task, task.k_plane, b + 1)
                                         : v;
      const typename Tiles::Values stored{
          v, task.head_dim * Tiles::template kBytes<kType>, ahead, columns};
      const std::byte* wide = reinterpret_cast<const std::byte*>(job.wide);
      const typename Tiles::Values widened{wide, int64_t{columns} * 4, wide, columns};
      if (!direct) {
        const Range any = within(job.seen(), block);
        Tiles::template widen_rows<kType>(stored, task.head_dim, any.from, any.end, job.wide);
      }
      const int32_t slot = (b - first) * kKVBlockTokens;
      const auto add = [&](int32_t i, int32_t n, Range slots) {
        if (slots.empty()) return;
        const float* weights = job.scores + int64_t{i} * kScoreStride + slot;
        float* out = job.parts + i * job.part_stride + kPartHeader;
        if (direct) {
          Tiles::template add_of<kType>(
              n, stored, weights, slots.from, slots.end, out, job.part_stride);
        } else {
          Tiles::template add_of<KVType::kF32>(
              n, widened, weights, slots.from, slots.end, out, job.part_stride);
        }
      };
      if constexpr (kType == KVType::kInt8) {
        // Each weight is used here only: what all weights add up to is known.
        Tiles::rescale(job.queries, v + kv_scales_at(kType, task.head_dim), job.scores + slot);
      }
      for (int32_t i = 0; i < job.queries; i += kGroup) {
        const int32_t n = lower(kGroup, job.queries - i);
        add_group(job, i, n, block, add);
      }
    });
  }
  // Together what all queries of a group see of a block; before and after that, each alone.
  template <class Add>
  FARTHING_SIMD void add_group(const Job& job, int32_t i, int32_t n, Range block, Add add) {
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

  // The parts of what the queries see of some positions. Whoever sees none of them has no part.
  static void attend(const Job& job, Range positions) {
    const Range any{higher(positions.from, job.seen().from), lower(positions.end, job.seen().end)};
    score(job, any);
    const int32_t start = any.from / kKVBlockTokens * kKVBlockTokens;  // of slot 0
    for (int32_t i = 0; i < job.queries; ++i) {
      const Range slots = within(job.seen(i), {start, any.end});
      float* part = job.parts + i * job.part_stride;
      std::memset(part, 0, static_cast<size_t>(job.part_stride) * sizeof(float));
      if (!slots.empty()) {
        soften(job.scores + int64_t{i} * kScoreStride, slots, job.task.softcap, part);
      }
    }
    add_values(job, any);
  }

  // sum += part, both relative to their own highest score.
  static void merge_part(const float* part, int64_t stride, bool first, float* sum) {
    if (first) {
      std::memcpy(sum, part, static_cast<size_t>(stride) * sizeof(float));
      return;
    }
    const F highest = V::max(V::set1_f(sum[0]), V::set1_f(part[0]));
    const F keep = exp2_weight<V>(V::sub(V::set1_f(sum[0]), highest));
    const F take = exp2_weight<V>(V::sub(V::set1_f(part[0]), highest));
    const auto both = [&](F x, F y) { return V::fma(y, take, V::mul(x, keep)); };
    const float total = V::first(both(V::set1_f(sum[1]), V::set1_f(part[1])));
    for (int64_t i = kPartHeader; i < stride; i += kLanes) {
      V::store(sum + i, both(V::load(sum + i), V::load(part + i)));
    }
    sum[0] = V::first(highest);
    sum[1] = total;
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
    if constexpr (kType == KVType::kInt8) hadamard<V>(out, task.head_dim);
  }

  FARTHING_SIMD Range segment_of(int32_t segment) {
    return {segment * kAttentionSegment, (segment + 1) * kAttentionSegment};
  }

  // ---- what the table offers ----

  static void rows(const AttentionTask& task) {
    const Job job(task);
    pack(job);
    const int32_t last = (job.seen().end - 1) / kAttentionSegment;
    for (int32_t s = job.seen().from / kAttentionSegment; s <= last; ++s) {
      const bool known = s < task.n_known;
      if (!known) attend(job, segment_of(s));
      const float* parts = known ? task.known + s * task.known_stride : job.parts;
      for (int32_t i = 0; i < job.queries; ++i) {
        const int32_t first = job.seen(i).from / kAttentionSegment;
        if (s < first || s > (job.seen(i).end - 1) / kAttentionSegment) continue;
        merge_part(parts + i * job.part_stride,
                   job.part_stride,
                   s == first,
                   job.merged + i * job.part_stride);
      }
    }
    for (int32_t i = 0; i < job.queries; ++i) write(task, i, job.merged + i * job.part_stride);
  }

  static void segment(const AttentionTask& task, int32_t segment, float* part) {
    Job job(task);
    job.parts = part;
    pack(job);
    attend(job, segment_of(segment));
  }
  static void merge(const AttentionTask& task, const float* parts, int32_t n_segments) {
    const int64_t stride = attention_part_floats(task.head_dim);
    float* sum = task.scratch;
    for (int32_t h = 0; h < task.n_heads; ++h) {
      for (int32_t s = 0; s < n_segments; ++s) {
        merge_part(parts + (int64_t{s} * task.n_heads + h) * stride, stride, s == 0, sum);
      }
      write(task, h, sum);
    }
  }

  // The textbook, query by query: all scores, softmax over them, then the weighted sum of values.
  static void naive(const AttentionTask& task) {
    for (int32_t i = 0; i < task.n_rows * task.n_heads; ++i) {
      const int32_t row = i / task.n_heads;
      const int64_t head = int64_t{i % task.n_heads} * task.head_dim;
      AttentionTask one = task;
      one.q += row * task.q_stride + head;
      one.out += row * task.out_stride + head;
      one.n_rows = one.n_heads = 1;
      one.position += row;
      const Job job(one);
      pack(job);
      attend(job, job.seen());
      write(one, 0, job.parts);
    }
  }

  static constexpr AttentionKernels kFns = {rows, segment, merge, naive};
};

}  // namespace
}  // namespace farthing
