#include "measure/speculation_bench.h"

#include <gtest/gtest.h>

#include <memory>
#include <numeric>

namespace farthing {
namespace {

const LoadedModel& toy() {
  static const std::unique_ptr<LoadedModel> model = [] {
    auto loaded = load_model(FARTHING_SOURCE_DIR "/tests/golden/model/llama-gqa.gguf", {});
    if (!loaded) ADD_FAILURE() << loaded.error().message;
    return *std::move(loaded);
  }();
  return *model;
}

TEST(GuessPattern, IsItsText) {
  const auto pattern = parse_pattern(" a1b0\nl1 ");
  ASSERT_TRUE(pattern);
  EXPECT_EQ(*pattern, (GuessPattern{{0, true}, {1, false}, {11, true}}));
  EXPECT_EQ(pattern_text(*pattern), "a1b0l1\n");
  EXPECT_EQ(*parse_pattern(pattern_text(GuessPattern(99, {3, true}))),
            GuessPattern(99, GuessOutcome{3, true}));
  for (const char* bad : {"", "a", "a1b", "1", "aa1", "m1", "a2", "a1,b0"}) {
    const auto refused = parse_pattern(bad);
    ASSERT_FALSE(refused) << bad;
    EXPECT_EQ(refused.error().kind, ErrorKind::kBadInput);
  }
}

// The model itself guesses right each time; nobody else does.
TEST(SpeculationBench, Records) {
  for (const int32_t n_layers : {1, 3}) {
    const auto pattern = record_pattern(
        toy(),
        {.n_threads = 1, .context = 128, .speculate = Speculation::kSelf, .draft_layers = n_layers},
        {1, 2, 3},
        40);
    ASSERT_TRUE(pattern);
    EXPECT_GT(pattern->size(), 30u);
    const auto n_right = std::ranges::count(*pattern, true, &GuessOutcome::right);
    if (n_layers == 3) {
      EXPECT_EQ(n_right, static_cast<int64_t>(pattern->size()));
    } else {
      EXPECT_LT(n_right, static_cast<int64_t>(pattern->size()));
    }
  }
}

// As many guesses are right as the pattern says: of drafts of two, all, or the first of each.
TEST(SpeculationBench, GuessesAreAsRightAsThePattern) {
  for (const bool second : {true, false}) {
    SpeculationBenchOptions options;
    options.engine = {.n_threads = 1, .speculate = Speculation::kSelf, .draft_tokens = 1};
    options.engine.draft_layers = 1;
    options.batches = {1, 3};
    options.n_prompt = 8;
    options.n_gen = 100;
    options.rounds = 2;
    options.pattern = {{2, true}, {2, second}};
    const auto results = bench_speculation(toy(), options, [](const std::string&) {});
    ASSERT_TRUE(results) << results.error().message;
    ASSERT_EQ(results->size(), 2u);
    for (const SpeculationResult& result : *results) {
      EXPECT_EQ(result.off.size(), 2u);
      EXPECT_EQ(result.measured().size(), 2u);
      EXPECT_EQ(result.drafts.tokens, 2 * 99 * result.batch);
      for (const double rate : result.off) EXPECT_GT(rate, 0);
      for (const double reckoned : result.reckoned) EXPECT_GT(reckoned, 0);
      if (second) {
        EXPECT_EQ(result.drafts.accepted_tokens, result.drafts.drafted_tokens);
        EXPECT_NEAR(result.drafts.tokens_per_step(), 2, 0.05);
      } else {
        // After a right guess of one token and the token behind it, the same again; after a wrong
        // one, the next is right.
        EXPECT_GT(result.drafts.accepted_tokens, 0);
        EXPECT_LE(result.drafts.accepted_tokens, result.drafts.drafted_tokens);
      }
    }
  }
}

}  // namespace
}  // namespace farthing
