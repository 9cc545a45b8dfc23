// Attention of the query heads that share a KV head, for one token. Heads go in groups of up to
// four; each block of 32 positions is widened to f32 once per group and then read from L1 by its
// heads.
//
// The order of sums is fixed by absolute positions: q.k in V::kLanes chains over the dimension and
// one tree; the softmax block by block (Milakov and Gimelshein, arXiv:1805.02867); the values in
// the order of their positions.
#pragma once

#include <cstring>

#include "kernels/kernel_table.h"
#include "kernels/simd/exp.h"

namespace farthing {
namespace {

inline constexpr int32_t kMaxHeadDim = 512;
inline constexpr int32_t kHeadGroup = 4;

template <class V, KVType kType>
struct Attention {
  using F = typename V::F;
  static constexpr int32_t kLanes = V::kLanes;
  static constexpr int64_t kValueBytes = kType == KVType::kF32 ? 4 : 2;
  static constexpr int32_t kScoreVectors = kKVBlockTokens / kLanes;

  struct Scratch {
    alignas(64) float rows[kKVBlockTokens *
                           kMaxHeadDim];  // K or V of one block, in f32, rows `padded` apart
    alignas(64) float q[kHeadGroup * kMaxHeadDim];    // zero-padded
    alignas(64) float out[kHeadGroup * kMaxHeadDim];  // not yet divided by the total
    alignas(64) float weights[kHeadGroup][kKVBlockTokens];
    float highest[kHeadGroup];
    float total[kHeadGroup];
    int32_t padded;  // head_dim rounded up to whole vectors
  };

  FARTHING_SIMD F load_values(const std::byte* p) {
    if constexpr (kType == KVType::kF32) return V::load(reinterpret_cast<const float*>(p));
    if constexpr (kType == KVType::kF16) return V::load_f16(p);
    if constexpr (kType == KVType::kBF16) return V::load_bf16(p);
  }

  // Positions [first, last] of a plane's block into scratch.rows, at their slots.
  static void widen(
      const AttentionTask& task, const std::byte* plane, int32_t first, int32_t last, Scratch& s) {
    const std::byte* block =
        plane + static_cast<int64_t>(task.blocks[first / kKVBlockTokens].v) * task.block_stride;
    for (int32_t p = first; p <= last; ++p) {
      const int32_t slot = p % kKVBlockTokens;
      const std::byte* row = block + slot * task.head_dim * kValueBytes;
      float* to = s.rows + slot * s.padded;
      int32_t i = 0;
      for (; i + kLanes <= task.head_dim; i += kLanes)
        V::store(to + i, load_values(row + i * kValueBytes));
      if (i < task.head_dim) {
        alignas(64) std::byte tail[64] = {};
        std::memcpy(
            tail, row + i * kValueBytes, static_cast<size_t>((task.head_dim - i) * kValueBytes));
        V::store(to + i, load_values(tail));
      }
    }
  }

  // scale * q.k, soft-capped, of slots [from, end) of the block, -inf for the others.
  static void score(const AttentionTask& task,
                    const float* q,
                    int32_t from,
                    int32_t end,
                    const Scratch& s,
                    F* scores) {
    const F nothing = V::set1_f(-__builtin_inff());
    for (int32_t v = 0; v < kScoreVectors; ++v) {
      scores[v] = nothing;
      if (end <= v * kLanes || from >= (v + 1) * kLanes) continue;
      F dots[kLanes];
#pragma GCC unroll 16
      for (int32_t j = 0; j < kLanes; ++j) dots[j] = V::zero_f();
      const float* rows = s.rows + v * kLanes * s.padded;
      for (int32_t i = 0; i < s.padded; i += kLanes) {
        const F x = V::load(q + i);
#pragma GCC unroll 16
        for (int32_t j = 0; j < kLanes; ++j)
          dots[j] = V::fma(x, V::load(rows + j * s.padded + i), dots[j]);
      }
      scores[v] = V::mul(V::sums(dots), V::set1_f(task.scale));
      if (task.softcap > 0) {
        const F cap = V::set1_f(task.softcap);
        scores[v] = V::mul(cap, tanh<V>(V::div(scores[v], cap)));
      }
      scores[v] = V::select(V::lanes(from - v * kLanes, end - v * kLanes), scores[v], nothing);
    }
  }

  // Scores to weights exp(score - highest), rescaling what head h has summed so far. Slots [from,
  // end) count.
  static void soften(const F* scores, int32_t from, int32_t end, int32_t h, Scratch& s) {
    F top = scores[0];
    for (int32_t v = 1; v < kScoreVectors; ++v) top = V::max(top, scores[v]);
    const float block_highest = V::largest(top);
    const float highest = block_highest > s.highest[h] ? block_highest : s.highest[h];
    const float keep = s.total[h] == 0 ? 0 : exp_of(s.highest[h] - highest);
    F sum = V::zero_f();
    for (int32_t v = 0; v < kScoreVectors; ++v) {
      const F weight = exp<V>(V::sub(scores[v], V::set1_f(highest)));
      const F counted =
          V::select(V::lanes(from - v * kLanes, end - v * kLanes), weight, V::zero_f());
      V::store(s.weights[h] + v * kLanes, counted);
      sum = V::add(sum, counted);
    }
    s.highest[h] = highest;
    s.total[h] = s.total[h] * keep + V::sum(sum);
    float* out = s.out + h * s.padded;
    for (int32_t i = 0; i < s.padded; i += kLanes)
      V::store(out + i, V::mul(V::load(out + i), V::set1_f(keep)));
  }
  FARTHING_SIMD float exp_of(float x) {
    alignas(64) float lanes[kLanes];
    V::store(lanes, exp<V>(V::set1_f(x)));
    return lanes[0];
  }

  // out += weights of slots [from, end) times their values, for kHeads heads.
  template <int32_t kHeads>
  static void add_values(int32_t from, int32_t end, Scratch& s) {
    for (int32_t i = 0; i < s.padded; i += kLanes) {
      F sum[kHeads];
#pragma GCC unroll 4
      for (int32_t h = 0; h < kHeads; ++h) sum[h] = V::load(s.out + h * s.padded + i);
      for (int32_t slot = from; slot < end; ++slot) {
        const F values = V::load(s.rows + slot * s.padded + i);
#pragma GCC unroll 4
        for (int32_t h = 0; h < kHeads; ++h)
          sum[h] = V::fma(V::set1_f(s.weights[h][slot]), values, sum[h]);
      }
#pragma GCC unroll 4
      for (int32_t h = 0; h < kHeads; ++h) V::store(s.out + h * s.padded + i, sum[h]);
    }
  }

  static void start(const AttentionTask& task, int32_t head, int32_t n_heads, Scratch& s) {
    std::memset(s.q, 0, sizeof(float) * static_cast<size_t>(n_heads * s.padded));
    std::memset(s.out, 0, sizeof(float) * static_cast<size_t>(n_heads * s.padded));
    for (int32_t h = 0; h < n_heads; ++h) {
      std::memcpy(s.q + h * s.padded,
                  task.q + (head + h) * task.q_stride,
                  static_cast<size_t>(task.head_dim) * sizeof(float));
      s.highest[h] = -__builtin_inff();
      s.total[h] = 0;
    }
  }
  static void finish(const AttentionTask& task, int32_t head, int32_t n_heads, const Scratch& s) {
    for (int32_t h = 0; h < n_heads; ++h) {
      float* out = task.out + (head + h) * task.out_stride;
      const F total = V::set1_f(s.total[h]);
      for (int32_t i = 0; i < task.head_dim; i += kLanes) {
        V::store(out + i,
                 V::div(V::load(s.out + h * s.padded + i), total),
                 V::first_lanes(task.head_dim - i));
      }
    }
  }

  // Calls fn(first, last, from, end) for each block: absolute positions and slots.
  template <class Fn>
  FARTHING_SIMD void for_blocks(const AttentionTask& task, Fn fn) {
    for (int32_t block = task.begin / kKVBlockTokens; block <= task.position / kKVBlockTokens;
         ++block) {
      const int32_t start = block * kKVBlockTokens;
      const int32_t first = task.begin > start ? task.begin : start;
      const int32_t last =
          task.position < start + kKVBlockTokens - 1 ? task.position : start + kKVBlockTokens - 1;
      fn(first, last, first - start, last - start + 1);
    }
  }

  template <int32_t kHeads>
  static void attend(const AttentionTask& task, int32_t head, Scratch& s) {
    start(task, head, kHeads, s);
    for_blocks(task, [&](int32_t first, int32_t last, int32_t from, int32_t end) {
      widen(task, task.k_plane, first, last, s);
      for (int32_t h = 0; h < kHeads; ++h) {
        F scores[kScoreVectors];
        score(task, s.q + h * s.padded, from, end, s, scores);
        soften(scores, from, end, h, s);
      }
      widen(task, task.v_plane, first, last, s);
      add_values<kHeads>(from, end, s);
    });
    finish(task, head, kHeads, s);
  }

  // The textbook, head by head: all scores into task.scratch, softmax over them, then the weighted
  // sum of values.
  static void run_naive(const AttentionTask& task) {
    Scratch s;
    s.padded = padded_dim(task);
    for (int32_t head = 0; head < task.n_heads; ++head) {
      start(task, head, 1, s);
      F top = V::set1_f(-__builtin_inff());
      for_blocks(task, [&](int32_t first, int32_t last, int32_t from, int32_t end) {
        F scores[kScoreVectors];
        widen(task, task.k_plane, first, last, s);
        score(task, s.q, from, end, s, scores);
        for (int32_t v = 0; v < kScoreVectors; ++v) {
          top = V::max(top, scores[v]);
          V::store(task.scratch + (first - from) + v * kLanes,
                   scores[v],
                   V::lanes(from - v * kLanes, end - v * kLanes));
        }
      });
      const F highest = V::set1_f(V::largest(top));
      F total = V::zero_f();
      for_blocks(task, [&](int32_t first, int32_t last, int32_t from, int32_t end) {
        for (int32_t v = 0; v < kScoreVectors; ++v) {
          const auto counted = V::lanes(from - v * kLanes, end - v * kLanes);
          const F scores = V::load(task.scratch + (first - from) + v * kLanes, counted);
          const F weights = V::select(counted, exp<V>(V::sub(scores, highest)), V::zero_f());
          V::store(s.weights[0] + v * kLanes, weights);
          total = V::add(total, weights);
        }
        widen(task, task.v_plane, first, last, s);
        add_values<1>(from, end, s);
      });
      s.total[0] = V::sum(total);
      finish(task, head, 1, s);
    }
  }

  FARTHING_SIMD int32_t padded_dim(const AttentionTask& task) {
    return (task.head_dim + kLanes - 1) / kLanes * kLanes;
  }

  static void run(const AttentionTask& task) {
    Scratch s;
    s.padded = padded_dim(task);
    int32_t head = 0;
    for (; head + 4 <= task.n_heads; head += 4) attend<4>(task, head, s);
    const int32_t rest = task.n_heads - head;
    if (rest == 3) attend<3>(task, head, s);
    if (rest == 2) attend<2>(task, head, s);
    if (rest == 1) attend<1>(task, head, s);
  }
};

}  // namespace
}  // namespace farthing
