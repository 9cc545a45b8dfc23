// Sequence: one token stream (one sample of a request) and where its KV lives.
// Invariant: n_stored <= size(); blocks.size() >= blocks_for(n_stored).
#pragma once

#include <cstdint>
#include <vector>

#include "core/block_table.h"
#include "core/cache_miss.h"
#include "core/ids.h"

namespace farthing {

// Most guesses of one sequence in a step: with the token before them, what the kernels for few
// tokens take at once.
inline constexpr int32_t kMostDraft = 15;

struct Sequence {
  SequenceId id;
  RequestId request;
  uint32_t sample = 0;          // index among the request's samples
  std::vector<TokenId> tokens;  // prompt, what was generated, n_draft guesses at what comes next
  int32_t n_draft = 0;          // only while a step is computed
  int32_t n_prompt = 0;
  int32_t n_stored = 0;  // positions [0, n_stored) have their K/V in the pool
  BlockTable blocks;
  int32_t n_cached = 0;  // of the prompt: found in the prefix cache when the sequence first ran
  CacheMiss miss = CacheMiss::kOff;  // why not more

  int32_t size() const { return static_cast<int32_t>(tokens.size()) - n_draft; }
  int32_t n_generated() const { return size() - n_prompt; }
};

}  // namespace farthing
