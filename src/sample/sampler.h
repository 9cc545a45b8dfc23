// The sampler: logits of one position -> one token. A pure function of its arguments: chance is a
// counter-based generator keyed by (seed, sample, position), so a token never depends on what else
// ran.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/batch.h"
#include "core/event.h"
#include "core/ids.h"
#include "core/sampling_params.h"
#include "core/top_k.h"

namespace farthing {

struct SampleInput {
  std::span<float> logits;          // [vocab]; scratch: its contents are lost
  std::span<const Candidate> best;  // or, if empty, the best_needed() best of them, by id
  std::span<const TokenId> prompt;  // for the repetition penalty
  std::span<const TokenId> output;  // for all penalties
  std::span<const TokenId> banned;  // never chosen (end-of-generation tokens before min_tokens)
  uint32_t sample = 0;              // which of the request's samples
  uint32_t position = 0;            // of the token to be picked, in the sequence
};

struct Sampled {
  TokenId token = 0;
  std::optional<TokenLogprob> logprob;  // if params.logprobs >= 0; of the unmodified logits
  std::vector<TokenLogprob> top;        // params.logprobs of them, best first
};

// Order, as vLLM: logit bias, penalties, temperature, top-k, top-p (of what top-k left), min-p.
// Ties go to the lower id. NaN logits count as minus infinity; plus infinities share the whole
// probability; if all are minus infinity, the lowest id that isn't banned is taken. Ids outside the
// vocabulary are ignored everywhere. A temperature below 1e-5 is greedy: one pass over the logits.
// Takes no memory that the same thread's tokens before didn't, but for Sampled::top.
Sampled sample_token(const SampleInput& input, const SamplingParams& params);

// The same of a token that is there: nothing is chosen, and logits aren't changed.
Sampled score_token(std::span<const float> logits, TokenId token, int32_t n_top);

// How many of the best logits are enough for these params if nothing is banned, at most kMostBest;
// 0: all are needed.
int32_t best_needed(const SamplingParams& params);

// The uniform number in [0, 1) of (seed, sample, position): Philox4x32-10 (sample/philox.h).
double uniform(uint64_t seed, uint32_t sample, uint32_t position);

}  // namespace farthing
