// A model behind an OpenAI-compatible server, as what scores given tokens: completions of lists of
// token ids with echo and logprobs. Owns: what one answer said. Does not know: what it is compared
// with. Answers are hostile: a strange one is an error.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "core/event.h"
#include "measure/load_client.h"
#include "measure/quality.h"
#include "measure/suite.h"
#include "text/tokenizer.h"

namespace farthing {

struct ServedRow {
  TokenLogprob token;             // that is there
  std::vector<TokenLogprob> top;  // the likeliest that the server told, in no order
};

class ServedScorer {
 public:
  // The server's tokens are this tokenizer's, which outlives the scorer. kNoResource if nobody
  // answers.
  static Result<ServedScorer> connect(const LoadTarget& target, const Tokenizer& tokenizer);

  const std::string& model() const { return target_.model; }
  double tokens_per_second() const { return seconds_ > 0 ? n_tokens_ / seconds_ : 0; }

  // Of tokens[first..], each after all before it; first >= 1. Valid until the next call. kRuntime
  // if the server can't, or answers something else.
  Result<std::span<const ServedRow>> score(std::span<const TokenId> tokens, int32_t first);

 private:
  ServedScorer(LoadTarget target, const Tokenizer& tokenizer);
  Result<TokenId> token_of(std::string_view name) const;

  LoadTarget target_;
  std::unordered_map<std::string_view, TokenId> by_piece_;
  int32_t vocab_size_;
  std::vector<ServedRow> rows_;
  double n_tokens_ = 0;  // sent, in so many seconds
  double seconds_ = 0;
};

// Exact but for the KL divergence, which is that of the told tokens and all others as one: what it
// is at least (merging outcomes never adds to a divergence: Cover, Thomas, 2.7).
RowComparison compare_served(std::span<const float> reference, const ServedRow& row);

CompareWindow compare_by(ServedScorer& scorer, const Windows& windows, int32_t vocab_size);
ScoreTokens scores_by(ServedScorer& scorer);

}  // namespace farthing
