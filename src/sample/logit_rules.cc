#include "sample/logit_rules.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace farthing {
namespace {

bool in_vocabulary(TokenId id, std::span<const float> logits) {
  return id >= 0 && static_cast<size_t>(id) < logits.size();
}

// What a thread's tokens are counted in, kept from token to token.
struct Scratch {
  std::vector<uint64_t> words;
  std::vector<TokenId> sorted;
};
thread_local Scratch scratch;

// A bit per token: 32 KiB for the largest vocabularies, so that long prompts need no sort.
class TokenSet {
 public:
  explicit TokenSet(size_t vocabulary) : words_(scratch.words) {
    words_.assign((vocabulary + 63) / 64, 0);
  }

  // False if it was there already.
  bool insert(TokenId id) {
    const auto index = static_cast<size_t>(id);
    const uint64_t bit = uint64_t{1} << (index % 64);
    uint64_t& word = words_[index / 64];
    if (word & bit) return false;
    word |= bit;
    return true;
  }

 private:
  std::vector<uint64_t>& words_;
};

void apply_repetition(std::span<float> logits,
                      std::span<const TokenId> prompt,
                      std::span<const TokenId> output,
                      float penalty) {
  TokenSet seen(logits.size());
  for (std::span<const TokenId> tokens : {prompt, output}) {
    for (TokenId id : tokens) {
      if (!in_vocabulary(id, logits) || !seen.insert(id)) continue;
      float& logit = logits[id];
      logit = logit > 0 ? logit / penalty : logit * penalty;
    }
  }
}

void apply_counts(std::span<float> logits,
                  std::span<const TokenId> output,
                  float frequency,
                  float presence) {
  std::vector<TokenId>& sorted = scratch.sorted;
  sorted.assign(output.begin(), output.end());
  std::sort(sorted.begin(), sorted.end());
  for (auto run = sorted.begin(); run != sorted.end();) {
    const auto end = std::upper_bound(run, sorted.end(), *run);
    if (in_vocabulary(*run, logits)) {
      logits[*run] -= frequency * static_cast<float>(end - run) + presence;
    }
    run = end;
  }
}

}  // namespace

void apply_logit_bias(std::span<float> logits, const SamplingParams& params) {
  for (const auto& [id, bias] : params.logit_bias) {
    if (in_vocabulary(id, logits)) logits[id] += bias;
  }
}

void apply_penalties(std::span<float> logits,
                     std::span<const TokenId> prompt,
                     std::span<const TokenId> output,
                     const SamplingParams& params) {
  if (params.repetition_penalty != 1.0f) {
    apply_repetition(logits, prompt, output, params.repetition_penalty);
  }
  if (params.frequency_penalty != 0.0f || params.presence_penalty != 0.0f) {
    apply_counts(logits, output, params.frequency_penalty, params.presence_penalty);
  }
}

void apply_ban(std::span<float> logits, std::span<const TokenId> banned) {
  for (TokenId id : banned) {
    if (in_vocabulary(id, logits)) logits[id] = -std::numeric_limits<float>::infinity();
  }
}

}  // namespace farthing
