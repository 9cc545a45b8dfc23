#include "measure/suite.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "engine/loaded_model.h"
#include "model/forward_for_tests.h"

namespace farthing {
namespace {

using testing::must;

const std::string kToy = FARTHING_SOURCE_DIR "/tests/golden/model/llama-gqa.gguf";

// A model that finds every token as likely as this says, and holds `top` for likeliest.
ScoreTokens scores(std::function<double(TokenId)> log_p, std::function<TokenId(TokenId)> top) {
  return [=, held = std::vector<TokenScore>()](
             std::span<const TokenId> tokens,
             int32_t first) mutable -> Result<std::span<const TokenScore>> {
    held.clear();
    for (const TokenId token : tokens.subspan(static_cast<size_t>(first)))
      held.push_back({.log_p = log_p(token), .top = top(token)});
    return std::span<const TokenScore>(held);
  };
}
const auto kItself = [](TokenId token) { return token; };
const auto kLowIsLikely = [](TokenId token) { return -0.1 * token; };

TEST(Answer, TheLikeliestChoiceAsAWhole) {
  const TokenQuestion question{
      .task = Task::kContinue, .choices = {{1, 9, 9}, {1, 5}, {1, 2, 2}}, .first = 1, .right = 2};
  const Answer answered = must(answer(question, scores(kLowIsLikely, kItself)));
  EXPECT_EQ(answered.choice, 2);
  EXPECT_TRUE(answered.right);
  EXPECT_TRUE(answered.given.empty());
  // The first of equals.
  EXPECT_EQ(must(answer(question, scores([](TokenId) { return 0.0; }, kItself))).choice, 0);
}

TEST(Answer, ExactlyUpToTheFirstWrongToken) {
  const TokenQuestion question{.task = Task::kRepeat, .choices = {{1, 2, 3, 4, 5}}, .first = 2};
  const Answer right = must(answer(question, scores(kLowIsLikely, kItself)));
  EXPECT_TRUE(right.right);
  EXPECT_EQ(right.given, (std::vector<TokenId>{3, 4, 5}));
  const auto trips = [](TokenId token) { return token == 4 ? 7 : token; };
  const Answer wrong = must(answer(question, scores(kLowIsLikely, trips)));
  EXPECT_FALSE(wrong.right);
  EXPECT_EQ(wrong.given, (std::vector<TokenId>{3, 7}));
}

TEST(Answer, NoNumbersAreAnError) {
  const TokenQuestion question{.choices = {{1, 2}, {1, 3}}, .first = 1};
  const auto nan = [](TokenId) { return std::numeric_limits<double>::quiet_NaN(); };
  EXPECT_FALSE(answer(question, scores(nan, kItself)));
}

TEST(MeasureSuite, CountsByTask) {
  const TokenQuestion choice{
      .task = Task::kSpeaker, .choices = {{1, 2}, {1, 3}}, .first = 1, .right = 0};
  const TokenQuestion exact{.task = Task::kCount, .choices = {{1, 2}}, .first = 1};
  const std::vector<TokenQuestion> questions = {choice, choice, exact};
  const auto high_is_likely = [](TokenId token) { return 0.1 * token; };
  int32_t n_shown = 0;
  const SuiteScore score = must(measure_suite(
      questions, scores(kLowIsLikely, kItself), scores(high_is_likely, kItself), [&](int32_t n) {
        EXPECT_EQ(n, ++n_shown);
      }));
  ASSERT_EQ(score.tasks.size(), 2);
  EXPECT_EQ(score.tasks[0].first, Task::kSpeaker);
  EXPECT_EQ(score.tasks[0].second.n, 2);
  EXPECT_EQ(score.tasks[0].second.accuracy.value, 1);
  EXPECT_EQ(score.tasks[0].second.accuracy_reference.value, 0);
  EXPECT_EQ(score.tasks[0].second.agreement.value, 0);
  EXPECT_EQ(score.tasks[1].second.agreement.value, 1);
  EXPECT_EQ(score.all.n, 3);
  EXPECT_NEAR(score.all.accuracy_reference.value, 1.0 / 3, 1e-12);
  EXPECT_NEAR(score.all.accuracy.low, 0.4385, 1e-4);  // Wilson's, of 3 of 3
  EXPECT_EQ(n_shown, 3);
}

class SuiteOfToy : public ::testing::Test {
 protected:
  std::unique_ptr<LoadedModel> loaded_ = must(load_model(kToy, {}));
  int32_t vocab_ = loaded_->model->spec.vocab_size;
  WindowRunner runner(int32_t size, int32_t chunk) {
    RunnerOptions options{.n_threads = 2};
    options.decoder.max_tokens = chunk;
    return must(WindowRunner::create(*loaded_->model, options, size));
  }
};

TEST_F(SuiteOfToy, ChoicesBeginWhereTheyDiffer) {
  const std::vector<Question> questions = {
      {Task::kContinue, "the cat", {" sat", "s sat", " ran"}, 0}, {Task::kRepeat, "", {"x"}, 0}};
  const std::vector<TokenQuestion> tokens =
      must(encode_questions(questions, loaded_->tokenizer, 100));
  ASSERT_EQ(tokens.size(), 2);  // BOS stands before an empty context
  for (const TokenQuestion& question : tokens) {
    EXPECT_GE(question.first, 1);
    for (size_t i = 0; i < question.choices.size(); ++i) {
      const auto head = std::span(question.choices[i]).first(static_cast<size_t>(question.first));
      EXPECT_TRUE(std::ranges::equal(
          head, std::span(question.choices[0]).first(static_cast<size_t>(question.first))));
    }
  }
  EXPECT_TRUE(must(encode_questions(questions, loaded_->tokenizer, 1)).empty());
  const std::vector<Question> broken = {{Task::kCount, "\xff\xfe", {"x"}, 0}};
  EXPECT_FALSE(encode_questions(broken, loaded_->tokenizer, 100));
}

// What questions share isn't computed again: scores are the same bits as those of a fresh runner,
// whatever ran before and in whatever chunks.
TEST_F(SuiteOfToy, ScoresDontDependOnWhatRanBefore) {
  constexpr int32_t kSize = 48;
  WindowRunner kept = runner(kSize, 16);
  const ScoreTokens by_kept = scores_by(kept, vocab_);
  std::mt19937 random(9);
  std::vector<TokenId> tokens = testing::random_tokens(vocab_, kSize, 1);
  for (int i = 0; i < 30; ++i) {
    // Another end, now and then a shorter one or another beginning.
    const size_t from = i % 5 == 4 ? 0 : random() % tokens.size();
    tokens.resize(2 + random() % (kSize - 1), 1);
    for (size_t k = std::min(from, tokens.size() - 1); k < tokens.size(); ++k)
      tokens[k] = static_cast<TokenId>(random() % static_cast<uint32_t>(vocab_));
    const auto first = static_cast<int32_t>(1 + random() % (tokens.size() - 1));
    const std::span<const TokenScore> got = must(by_kept(tokens, first));
    ASSERT_EQ(got.size(), tokens.size() - static_cast<size_t>(first));
    WindowRunner fresh = runner(kSize, 512);
    const ScoreTokens by_fresh = scores_by(fresh, vocab_);
    const std::span<const TokenScore> wanted = must(by_fresh(tokens, first));
    for (size_t k = 0; k < got.size(); ++k) {
      EXPECT_EQ(got[k].log_p, wanted[k].log_p) << i << " " << k;
      EXPECT_EQ(got[k].top, wanted[k].top);
      EXPECT_LT(got[k].log_p, 0);
    }
  }
}

}  // namespace
}  // namespace farthing
