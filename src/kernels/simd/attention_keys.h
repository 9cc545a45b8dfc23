// What attention does with keys of one type: queries are made ready for them, and multiplied.
#pragma once

#include <cstring>

#include "kernels/simd/attention_job.h"
#include "kernels/simd/attention_tiles.h"
#include "kernels/simd/hadamard.h"

namespace farthing {
namespace {

inline constexpr float kLog2E = 1.44269504088896341f;

template <class V, KVType kType>
struct AttentionKeys {
  using Tiles = AttentionTiles<V>;
  static constexpr int32_t kGroup = Tiles::kGroup;
  static constexpr int32_t kScoreStride = Tiles::kScoreStride;

  // Scale and log2(e) go into q: the softmax computes powers of 2. With a soft cap, log2(e) follows
  // after it. What pads a head to whole rows of K is 0.
  static void pack(const AttentionJob& job) {
    const AttentionTask& task = job.task;
    const float factor = task.softcap > 0 ? task.scale : task.scale * kLog2E;
    for (int32_t i = 0; i < job.queries; ++i) {
      const float* q = job.query(i);
      float* out = packed(job, i) + i % kGroup;
      alignas(64) float transformed[kMaxHeadDim];
      if constexpr (kv_is_scaled(kType)) {
        std::memcpy(transformed, q, static_cast<size_t>(task.head_dim) * sizeof(float));
        hadamard<V>(transformed, task.head_dim);
        q = transformed;
      }
      int32_t d = 0;
      for (; d < task.head_dim; ++d) out[int64_t{d} * kGroup] = q[d] * factor;
      for (; d % kv_k_row_channels(kType) != 0; ++d) out[int64_t{d} * kGroup] = 0;
    }
  }
  // Of the group of queries that i is in.
  FARTHING_SIMD float* packed(const AttentionJob& job, int32_t i) {
    return job.packed + int64_t{i / kGroup} * padded_head(job.task.head_dim) * kGroup;
  }

  // Scores of the positions, query i's from job.scores + i * kScoreStride on, in slots that count
  // from the first block. With more queries than fit in registers at once, each block is widened to
  // f32 once and read from L1 by all of them.
  static void score(const AttentionJob& job, Range positions) {
    const bool direct = kType == KVType::kF32 || job.queries <= kGroup;
    const int32_t first = positions.from / kKVBlockTokens;
    const KVPlane plane = kv_k_plane(kType, job.task.head_dim);
    for_blocks(positions, [&](Range block, int32_t b, int32_t next) {
      const std::byte* k = job.k_plane(b);
      const std::byte* ahead = next >= 0 ? job.k_plane(next) : job.v_plane(first);
      if (!direct) Tiles::template widen<kType>(k, plane.scales_at, ahead, job.wide);
      for (int32_t i = 0; i < job.queries; i += kGroup) {
        const int32_t n = lower(kGroup, job.queries - i);
        if (within({job.seen(i).from, job.seen(i + n - 1).end}, block).empty()) continue;
        float* scores =
            job.scores + int64_t{i} * kScoreStride + int64_t{b - first} * kKVBlockTokens;
        const std::byte* wide = reinterpret_cast<const std::byte*>(job.wide);
        if (direct) {
          multiply<kType>(job, i, n, k, k + plane.scales_at, scores, ahead);
        } else {
          multiply<KVType::kF32>(job, i, n, wide, k + plane.scales_at, scores, wide);
        }
      }
    });
  }
  // Queries [i, i + n) by a block, the channels of one scale after those of the other.
  template <KVType kStored>
  FARTHING_SIMD void multiply(const AttentionJob& job,
                              int32_t i,
                              int32_t n,
                              const std::byte* k,
                              const std::byte* scales,
                              float* scores,
                              const std::byte* ahead) {
    const float* q = packed(job, i);
    const int32_t head_dim = job.task.head_dim;
    if constexpr (!kv_is_scaled(kType)) {
      Tiles::template dots_of<kStored>(n, q, k, head_dim, nullptr, false, scores, ahead);
    } else {
      constexpr int32_t kChannels = kv_scale_channels(kType);
      constexpr int64_t kPiece =
          kChannels / kv_k_row_channels(kStored) * kKVBlockTokens * kv_value_bytes(kStored);
      for (int32_t d = 0; d < head_dim; d += kChannels) {
        const int64_t at = d / kChannels;
        Tiles::template dots_of<kStored>(n,
                                         q + int64_t{d} * kGroup,
                                         k + at * kPiece,
                                         lower(kChannels, head_dim - d),
                                         scales + at * 2 * kKVBlockTokens,
                                         d > 0,
                                         scores,
                                         ahead + at * kPiece);
      }
    }
  }
};

}  // namespace
}  // namespace farthing
