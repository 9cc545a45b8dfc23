// What the attention kernels are asked, and what memory they want for it.
//
// Attention is over the stored K and V, whose planes hold kKVBlockTokens positions each
// (kv_type.h): K transposed, [head_dim][position], so that q.k adds up in lanes that are positions;
// V [position][head_dim]. Scales, where the type has them, go into the scores and into the weights.
//
// Exactness: a row's result depends on its q, its position and what is stored, not on which rows
// share its task nor on who computes which segment. Scores add up in the order of the dimension,
// the channels of each scale first; each segment of kAttentionSegment absolute positions has a
// softmax of its own, a part; a row's parts are merged in the order of their segments (Milakov and
// Gimelshein, arXiv:1805.02867).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/block_table.h"
#include "kernels/kv_type.h"

namespace farthing {

inline constexpr int32_t kMaxHeadDim = 512;
inline constexpr int32_t kAttentionSegment = 256;  // positions; whole blocks

// The query heads that share one KV head, for n_rows consecutive positions of one sequence. Row r
// sees the last `window` positions up to its own, position + r; all of them if window is 0. Scores
// are scale * q.k, soft-capped if softcap > 0 (cap * tanh(s / cap)).
struct AttentionTask {
  const float* q;    // [n_rows][n_heads][head_dim]
  int64_t q_stride;  // floats from row to row
  float* out;        // likewise
  int64_t out_stride;
  int32_t n_rows;
  int32_t n_heads;
  int32_t head_dim;
  KVTypes types;
  const std::byte* k_plane;  // this layer's and head's K of block 0
  const std::byte* v_plane;
  int64_t block_stride;   // bytes from block to block
  const BlockId* blocks;  // the sequence's block table
  int32_t position;       // of row 0
  int32_t window;
  float scale;
  float softcap;
  float* scratch;  // aligned to 64 bytes: attention_scratch_floats() or, for naive, of its own kind

  // For rows(): what segment() gave for segments [0, n_known) and these rows, known_stride floats
  // from segment to segment.
  const float* known = nullptr;
  int64_t known_stride = 0;
  int32_t n_known = 0;
};

// head_dim values of one position to its slot of a plane.
using StoreKVFn = void (*)(const float* x, int32_t head_dim, std::byte* plane, int32_t slot);

// The first position that a row at `position` sees.
constexpr int32_t attention_begin(int32_t position, int32_t window) {
  return window > 0 && position >= window ? position - window + 1 : 0;
}

struct AttentionKernels {
  void (*rows)(const AttentionTask&);  // all of it
  // The same in two steps: a part of a segment that all rows see something of, into
  // part[n_rows][n_heads][attention_part_floats()]; then, from the parts of all segments of one
  // row in order, the output. So several threads can share a row, and rows of several sequences,
  // whose blocks are the same as far as the segment goes, can be one task of segment().
  void (*segment)(const AttentionTask&, int32_t segment, float* part);
  void (*merge)(const AttentionTask&, const float* parts, int32_t n_segments);
  void (*naive)(const AttentionTask&);  // as rows(), with one softmax over all positions
};

// A query head's part of a segment: highest score, total weight, padding, weighted sum of values.
inline constexpr int64_t kPartHeader = 16;
constexpr int64_t padded_head(int32_t head_dim) {
  return (int64_t{head_dim} + 15) / 16 * 16;
}
constexpr int64_t attention_part_floats(int32_t head_dim) {
  return kPartHeader + padded_head(head_dim);
}

// Where the kernels keep what in AttentionTask::scratch, for `queries` = n_rows * n_heads.
struct AttentionScratch {
  static constexpr int32_t kMaxGroup = 8;                          // queries computed together
  static constexpr int32_t kScoreStride = kAttentionSegment + 16;  // off the powers of two

  constexpr AttentionScratch(int32_t queries, int32_t head_dim, int64_t score_floats)
      : wide((int64_t{queries} + kMaxGroup) * padded_head(head_dim)),
        parts(wide + kKVBlockTokens * padded_head(head_dim)),
        merged(parts + queries * attention_part_floats(head_dim)),
        scores(merged + queries * attention_part_floats(head_dim)),
        size(scores + score_floats) {}

  static constexpr int64_t packed = 0;  // q times scale, by groups: [group][padded head][query]
  int64_t wide;                         // K or V of one block in f32
  int64_t parts;                        // of the segment at hand, per query
  int64_t merged;                       // of the segments before it
  int64_t scores;
  int64_t size;
};

constexpr int64_t attention_scratch_floats(int32_t queries, int32_t head_dim) {
  return AttentionScratch(queries, head_dim, int64_t{queries} * AttentionScratch::kScoreStride)
      .size;
}
constexpr int64_t naive_scratch_floats(int32_t positions, int32_t head_dim) {
  return AttentionScratch(1, head_dim, int64_t{blocks_for(positions)} * kKVBlockTokens).size;
}

}  // namespace farthing
