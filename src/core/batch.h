// Batch: a flat list of slices for one forward pass. Prefill is count > 1, decode is count == 1,
// verification of k drafted tokens is count == k + 1, chunked prefill is a smaller count. There is
// no phase flag anywhere.
#pragma once

#include <cstdint>
#include <vector>

#include "core/sequence.h"
#include "core/slice_cut.h"

namespace farthing {

struct Slice {
  const Sequence* sequence = nullptr;  // valid until the batch is committed
  int32_t first = 0;                   // position of the first token; == the sequence's n_stored
  int32_t count = 0;                   // tokens [first, first + count) are computed
  int32_t n_logits = 0;                // the last n_logits positions get logits
  int32_t n_best = 0;                  // only so many of each position's best are needed; 0: all
  int32_t n_draft = 0;                 // the last n_draft tokens are guesses
  SliceCut cut = SliceCut::kNone;
};
inline constexpr int32_t kMostBest = 64;  // for n_best

// A whole block, as far as it is stored.
struct BlockCopy {
  BlockId from, to;
};

struct Batch {
  std::vector<Slice> slices;
  std::vector<BlockCopy> copies;  // made in order, before anything is computed

  int32_t n_tokens() const {
    int32_t n = 0;
    for (const Slice& s : slices) n += s.count;
    return n;
  }
  int32_t n_logits() const {
    int32_t n = 0;
    for (const Slice& s : slices) n += s.n_logits;
    return n;
  }
  // No position needs all of its logits.
  bool best_only() const {
    for (const Slice& s : slices) {
      if (s.n_logits > 0 && s.n_best == 0) return false;
    }
    return true;
  }
};

}  // namespace farthing
