// The suite: questions (measure/questions.h) put to a model and a reference of the same vocabulary.
// Owns: nothing. Does not know: where likelihoods come from (a runner, a server).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "core/ids.h"
#include "measure/perplexity.h"
#include "measure/quality.h"
#include "measure/questions.h"
#include "text/tokenizer.h"

namespace farthing {

// A question in tokens: each choice behind the context, alike up to `first`.
struct TokenQuestion {
  Task task = Task::kContinue;
  std::vector<std::vector<TokenId>> choices;
  int32_t first = 0;  // >= 1: tokens from here on are the choice's
  size_t right = 0;
};

// A choice begins where its tokens first differ from the context's or another choice's, so that a
// token that joins the end of the context with the choice is the choice's. Questions that are
// longer than `most_tokens` are left out, and those that leave nothing to be scored. kBadInput if
// the text isn't UTF-8.
Result<std::vector<TokenQuestion>> encode_questions(std::span<const Question> questions,
                                                    const Tokenizer& tokenizer,
                                                    int32_t most_tokens);

// What a model says of a token that is there.
struct TokenScore {
  double log_p = 0;  // natural logarithm
  TokenId top = 0;   // the likeliest token in its place
};
// Of tokens[first..], each after all before it; first >= 1. Valid until the next call.
using ScoreTokens = std::function<Result<std::span<const TokenScore>>(
    std::span<const TokenId> tokens, int32_t first)>;
// By a runner here, which outlives it; questions are no longer than its windows.
ScoreTokens scores_by(WindowRunner& runner, int32_t vocab_size);

struct Answer {
  bool right = false;
  size_t choice = 0;           // the likeliest: the sum of its tokens' log_p (the first, of equals)
  std::vector<TokenId> given;  // exactly: likeliest tokens up to the first that is wrong

  bool operator==(const Answer&) const = default;
};
Result<Answer> answer(const TokenQuestion& question, const ScoreTokens& score);

struct TaskScore {
  int64_t n = 0;
  Estimate accuracy;  // shares, with Wilson's interval
  Estimate accuracy_reference;
  Estimate agreement;  // the same answer, right or wrong
};
struct SuiteScore {
  std::vector<std::pair<Task, TaskScore>> tasks;  // those that had questions
  TaskScore all;
};
// Of at least one question.
Result<SuiteScore> measure_suite(std::span<const TokenQuestion> questions,
                                 const ScoreTokens& model,
                                 const ScoreTokens& reference,
                                 const std::function<void(int32_t n_done)>& progress);

}  // namespace farthing
