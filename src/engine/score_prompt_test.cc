#include <gtest/gtest.h>

#include <span>

#include "cache/kv_store.h"
#include "engine/engine_for_tests.h"
#include "model/forward_for_tests.h"
#include "sample/log_softmax.h"

namespace farthing {
namespace {

using namespace testing;

// What the model says of a prompt's tokens is what it says of them as a text, bit for bit, whatever
// the chunk, the company, what is stored and whether it was preempted on the way.
TEST(ScorePrompt, ScoredAreSaidOnceAndAlwaysTheSame) {
  Request request = request_of(100, 24);
  request.score_prompt = true;
  Rig rig(*toy().model, {.isa = best_isa(), .kv_type = KVType::kF16});
  const std::vector<float> logits = rig.logits_of(request.prompt, 32);
  const auto vocab = static_cast<size_t>(rig.vocab());

  EngineOptions usual{.n_threads = 1, .context = 256, .score_prompts = true};
  auto plain = start(usual);
  Request unscored = request;
  unscored.score_prompt = false;
  const Heard want = run(*plain, unscored);
  EXPECT_TRUE(want.scored.empty());

  struct Case {
    const char* name;
    EngineOptions options;
    uint32_t neighbours = 0;
  };
  std::vector<Case> cases = {{"as usual", usual}};
  for (const int32_t chunk : {1, 7, 300}) {
    cases.push_back({"chunk", usual});
    cases.back().options.chunk = chunk;
  }
  cases.push_back({"drafts", usual, 2});
  cases.back().options.speculate = Speculation::kLookup;
  cases.back().options.max_sequences = 3;
  cases.push_back({"no KV cache", usual});
  cases.back().options.kv_cache = false;
  cases.push_back({"preempted", usual, 5});
  cases.back().options.max_sequences = 4;
  cases.back().options.kv_memory =
      KVStore::bytes_needed(toy().model->kv_shapes(KVType::kF16), 256 / kKVBlockTokens);
  for (const Case& c : cases) {
    auto engine = start(c.options);
    if (c.neighbours == 0) run(*engine, unscored);  // which stores the prefix
    std::vector<Listener> others(c.neighbours);
    for (uint32_t i = 0; i < c.neighbours; ++i) {
      Request other = request_of(60, 100, i + 1);
      other.score_prompt = i % 2 == 0;
      ASSERT_TRUE(engine->submit(std::move(other), others[i].sink()));
    }
    const Heard got = run(*engine, request);
    EXPECT_EQ(got.tokens, want.tokens) << c.name;
    EXPECT_EQ(got.logprobs, want.logprobs) << c.name;
    EXPECT_EQ(got.text, want.text) << c.name;
    EXPECT_EQ(got.usage.cached_tokens, 0) << c.name;
    EXPECT_EQ(got.usage.completion_tokens, 24) << c.name;
    ASSERT_EQ(got.scored.size(), request.prompt.size() - 1) << c.name;
    for (size_t i = 1; i < request.prompt.size(); ++i) {
      const TokenEvent& event = got.scored[i - 1];
      const std::span<const float> row = std::span(logits).subspan((i - 1) * vocab, vocab);
      const double sum = log_sum_exp(row);
      EXPECT_EQ(event.token, request.prompt[i]) << c.name;
      const auto token = static_cast<size_t>(event.token);
      EXPECT_EQ(event.logprob->logprob, static_cast<float>(row[token] - sum)) << c.name << " " << i;
      ASSERT_EQ(event.top.size(), 3u) << c.name;
      EXPECT_EQ(event.top[0].token, argmax(row)) << c.name << " " << i;
    }
    int n_preempted = 0;
    for (uint32_t i = 0; i < c.neighbours; ++i) {
      const Heard other = others[i].wait();
      EXPECT_EQ(other.scored.size(), i % 2 == 0 ? 59u : 0u) << c.name;
      n_preempted += other.timeline.n_preempted;
    }
    EXPECT_EQ(n_preempted + got.timeline.n_preempted > 0, c.options.kv_memory > 0) << c.name;
    EXPECT_EQ(engine->metrics().kv_blocks_leased, 0) << c.name;
  }
}

}  // namespace
}  // namespace farthing
