// Attention of some rows and the query heads of one KV head: segment by segment, all scores of a
// segment, their softmax, the weighted sum of its values. The types of K and V choose what does the
// first and the last of these, each on its own.
#pragma once

#include <cstring>

#include "kernels/simd/attention_keys.h"
#include "kernels/simd/attention_values.h"
#include "kernels/simd/exp.h"

namespace farthing {
namespace {

template <class V>
struct Attention {
  using F = typename V::F;
  using Job = AttentionJob;
  static constexpr int32_t kLanes = V::kLanes;
  static constexpr int32_t kScoreStride = AttentionScratch::kScoreStride;

  // ---- by type ----

  struct Keys {
    void (*pack)(const Job&);
    void (*score)(const Job&, Range positions);
  };
  struct Values {
    void (*add)(const Job&, Range positions);
    void (*write)(const AttentionTask&, int32_t query, const float* sum);
  };
  template <KVType kType>
  static constexpr Keys kKeysOf{AttentionKeys<V, kType>::pack, AttentionKeys<V, kType>::score};
  template <KVType kType>
  static constexpr Values kValuesOf{AttentionValues<V, kType>::add,
                                    AttentionValues<V, kType>::write};
  static constexpr Keys kKeys[kKVTypeCount] = {kKeysOf<KVType::kF32>,
                                               kKeysOf<KVType::kF16>,
                                               kKeysOf<KVType::kBF16>,
                                               kKeysOf<KVType::kInt8>,
                                               kKeysOf<KVType::kInt4>};
  static constexpr Values kValues[kKVTypeCount] = {kValuesOf<KVType::kF32>,
                                                   kValuesOf<KVType::kF16>,
                                                   kValuesOf<KVType::kBF16>,
                                                   kValuesOf<KVType::kInt8>,
                                                   kValuesOf<KVType::kInt4>};
  FARTHING_SIMD const Keys& keys(const AttentionTask& task) {
    return kKeys[static_cast<size_t>(task.types.k)];
  }
  FARTHING_SIMD const Values& values(const AttentionTask& task) {
    return kValues[static_cast<size_t>(task.types.v)];
  }

  // ---- the steps ----

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

  // The parts of what the queries see of some positions. Whoever sees none of them has no part.
  static void attend(const Job& job, Range positions) {
    const Range any{higher(positions.from, job.seen().from), lower(positions.end, job.seen().end)};
    keys(job.task).score(job, any);
    const int32_t start = any.from / kKVBlockTokens * kKVBlockTokens;  // of slot 0
    for (int32_t i = 0; i < job.queries; ++i) {
      const Range slots = within(job.seen(i), {start, any.end});
      float* part = job.parts + i * job.part_stride;
      std::memset(part, 0, static_cast<size_t>(job.part_stride) * sizeof(float));
      if (!slots.empty()) {
        soften(job.scores + int64_t{i} * kScoreStride, slots, job.task.softcap, part);
      }
    }
    values(job.task).add(job, any);
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
  FARTHING_SIMD Range segment_of(int32_t segment) {
    return {segment * kAttentionSegment, (segment + 1) * kAttentionSegment};
  }

  // ---- what the table offers ----

  static void rows(const AttentionTask& task) {
    const Job job(task);
    keys(task).pack(job);
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
    for (int32_t i = 0; i < job.queries; ++i)
      values(task).write(task, i, job.merged + i * job.part_stride);
  }

  static void segment(const AttentionTask& task, int32_t segment, float* part) {
    Job job(task);
    job.parts = part;
    keys(task).pack(job);
    attend(job, segment_of(segment));
  }
  static void merge(const AttentionTask& task, const float* parts, int32_t n_segments) {
    const int64_t stride = attention_part_floats(task.head_dim);
    float* sum = task.scratch;
    for (int32_t h = 0; h < task.n_heads; ++h) {
      for (int32_t s = 0; s < n_segments; ++s) {
        merge_part(parts + (int64_t{s} * task.n_heads + h) * stride, stride, s == 0, sum);
      }
      values(task).write(task, h, sum);
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
      keys(one).pack(job);
      attend(job, job.seen());
      values(one).write(one, 0, job.parts);
    }
  }

  static constexpr AttentionKernels kFns = {rows, segment, merge, naive};
};

}  // namespace
}  // namespace farthing
