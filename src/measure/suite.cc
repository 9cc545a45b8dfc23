#include "measure/suite.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/check.h"
#include "core/top_k.h"
#include "sample/log_softmax.h"

namespace farthing {
namespace {

int32_t common_prefix(std::span<const TokenId> a, std::span<const TokenId> b) {
  return static_cast<int32_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

struct Hits {
  int64_t n = 0, model = 0, reference = 0, same = 0;

  void add(const Answer& model_says, const Answer& reference_says) {
    ++n;
    model += model_says.right ? 1 : 0;
    reference += reference_says.right ? 1 : 0;
    same += model_says == reference_says ? 1 : 0;
  }
  TaskScore score() const {
    return {.n = n,
            .accuracy = share_of(model, n),
            .accuracy_reference = share_of(reference, n),
            .agreement = share_of(same, n)};
  }
};

}  // namespace

Result<std::vector<TokenQuestion>> encode_questions(std::span<const Question> questions,
                                                    const Tokenizer& tokenizer,
                                                    int32_t most_tokens) {
  constexpr EncodeOptions kWhole{.add_special = true};
  std::vector<TokenQuestion> out;
  for (const Question& question : questions) {
    TokenQuestion tokens{.task = question.task, .right = question.right};
    FARTHING_TRY(const std::vector<TokenId> context, tokenizer.encode(question.context, kWhole));
    tokens.first = static_cast<int32_t>(context.size());
    bool fits = true;
    for (const std::string& choice : question.choices) {
      FARTHING_TRY(std::vector<TokenId> whole, tokenizer.encode(question.context + choice, kWhole));
      tokens.first = std::min(tokens.first, common_prefix(context, whole));
      fits = fits && whole.size() <= static_cast<size_t>(std::max(most_tokens, 0));
      tokens.choices.push_back(std::move(whole));
    }
    const auto is_scored = [&](const std::vector<TokenId>& choice) {
      return choice.size() > static_cast<size_t>(tokens.first);
    };
    if (fits && tokens.first >= 1 && std::ranges::all_of(tokens.choices, is_scored))
      out.push_back(std::move(tokens));
  }
  return out;
}

ScoreTokens scores_by(WindowRunner& runner, int32_t vocab_size) {
  return [&runner, vocab_size, scores = std::vector<TokenScore>()](
             std::span<const TokenId> tokens,
             int32_t first) mutable -> Result<std::span<const TokenScore>> {
    scores.resize(tokens.size() - static_cast<size_t>(first));
    runner.run(tokens, first - 1, [&](int32_t row, std::span<float> logits, TokenId next) {
      const std::span<const float> all = logits.first(static_cast<size_t>(vocab_size));
      scores[static_cast<size_t>(row)] = {
          .log_p = all[static_cast<size_t>(next)] - log_sum_exp(all),
          .top = std::max(best_of(all).id, 0)};
    });
    return std::span<const TokenScore>(scores);
  };
}

Result<Answer> answer(const TokenQuestion& question, const ScoreTokens& score) {
  Answer answer;
  const size_t first = static_cast<size_t>(question.first);
  double best = 0;
  for (size_t i = 0; i < question.choices.size(); ++i) {
    const std::vector<TokenId>& tokens = question.choices[i];
    FARTHING_TRY(const std::span<const TokenScore> scores, score(tokens, question.first));
    CHECK(scores.size() == tokens.size() - first);
    double log_p = 0;
    for (const TokenScore& token : scores) log_p += token.log_p;
    if (std::isnan(log_p))
      return runtime_failure("logits are no numbers in the suite: is one of the files damaged?");
    if (i == 0 || log_p > best) {
      best = log_p;
      answer.choice = i;
    }
    if (has_choices(question.task)) continue;
    for (size_t k = 0; k < scores.size(); ++k) {
      answer.given.push_back(scores[k].top);
      if (scores[k].top != tokens[first + k]) return answer;
    }
  }
  answer.right = answer.choice == question.right;
  return answer;
}

Result<SuiteScore> measure_suite(std::span<const TokenQuestion> questions,
                                 const ScoreTokens& model,
                                 const ScoreTokens& reference,
                                 const std::function<void(int32_t n_done)>& progress) {
  CHECK(!questions.empty());
  Hits all;
  std::array<Hits, kTaskCount> by_task;
  for (const TokenQuestion& question : questions) {
    FARTHING_TRY(const Answer model_says, answer(question, model));
    FARTHING_TRY(const Answer reference_says, answer(question, reference));
    all.add(model_says, reference_says);
    by_task[static_cast<size_t>(question.task)].add(model_says, reference_says);
    progress(static_cast<int32_t>(all.n));
  }
  SuiteScore score{.all = all.score()};
  for (size_t task = 0; task < kTaskCount; ++task) {
    if (by_task[task].n > 0)
      score.tasks.emplace_back(static_cast<Task>(task), by_task[task].score());
  }
  return score;
}

}  // namespace farthing
