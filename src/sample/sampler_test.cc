#include "sample/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <new>
#include <numeric>
#include <random>
#include <vector>

#include "core/top_k.h"
#include "sample/philox.h"

// Counts allocations of this program, for the promise that a token needs none.
namespace {
std::atomic<int64_t> allocations{0};
}
[[gnu::noinline]] void* operator new(size_t size) {
  ++allocations;
  if (void* p = std::malloc(size ? size : 1)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept {
  std::free(p);
}

namespace farthing {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNan = std::nanf("");

SamplingParams greedy() {
  SamplingParams p;
  p.temperature = 0;
  return p;
}

TokenId pick(std::vector<float> logits,
             const SamplingParams& params,
             std::vector<TokenId> prompt = {},
             std::vector<TokenId> output = {},
             std::vector<TokenId> banned = {},
             uint32_t position = 0) {
  return sample_token({.logits = logits,
                       .prompt = prompt,
                       .output = output,
                       .banned = banned,
                       .position = position},
                      params)
      .token;
}

// How often each token comes in `n` draws at as many positions.
std::vector<int> histogram(const std::vector<float>& logits, const SamplingParams& params, int n) {
  std::vector<int> counts(logits.size());
  for (int i = 0; i < n; ++i) ++counts[pick(logits, params, {}, {}, {}, i)];
  return counts;
}

// Pearson's statistic of `counts` against the probabilities; tokens of probability 0 must not come
// at all.
double chi_square(const std::vector<int>& counts, const std::vector<double>& probabilities) {
  const double n = std::accumulate(counts.begin(), counts.end(), 0.0);
  double sum = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double want = n * probabilities[i];
    if (want == 0) {
      EXPECT_EQ(counts[i], 0) << "token " << i;
    } else {
      sum += (counts[i] - want) * (counts[i] - want) / want;
    }
  }
  return sum;
}

std::vector<double> softmax(const std::vector<float>& logits, double temperature) {
  std::vector<double> p(logits.size());
  const double largest = *std::max_element(logits.begin(), logits.end());
  for (size_t i = 0; i < p.size(); ++i) p[i] = std::exp((logits[i] - largest) / temperature);
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= sum;
  return p;
}

// The known answers of the authors' Random123 library (kat_vectors, philox4x32 with 10 rounds).
TEST(PhiloxTest, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(UniformTest, EvenOverPositionsSamplesAndSeeds) {
  // Known value: words 1 and 0 of the first vector above, 53 bits of them.
  EXPECT_EQ(uniform(0, 0, 0), static_cast<double>(0xe169c58d6627e8d5 >> 11) * 0x1p-53);
  EXPECT_NE(uniform(0, 0, 0),
            uniform(uint64_t{1} << 32, 0, 0));  // the upper half of the seed counts
  const auto check = [](auto draw) {
    std::vector<int> counts(64);
    for (uint32_t i = 0; i < 64000; ++i) {
      const double u = draw(i);
      ASSERT_GE(u, 0.0);
      ASSERT_LT(u, 1.0);
      ++counts[static_cast<int>(u * 64)];
    }
    // 63 degrees of freedom: 0.1 % quantiles are about 31 and 104.
    const double x = chi_square(counts, std::vector<double>(64, 1.0 / 64));
    EXPECT_GT(x, 31);
    EXPECT_LT(x, 104);
  };
  check([](uint32_t i) { return uniform(42, 0, i); });
  check([](uint32_t i) { return uniform(42, i, 7); });
  check([](uint32_t i) { return uniform(i, 0, 7); });
}

TEST(SamplerTest, GreedyTakesTheLargestAndTheLowerIdOfTies) {
  EXPECT_EQ(pick({1, 3, 2}, greedy()), 1);
  EXPECT_EQ(pick({1, 3, 3}, greedy()), 1);
  EXPECT_EQ(pick({-5}, greedy()), 0);
  std::mt19937 random(3);
  for (int round = 0; round < 2000; ++round) {  // all sizes around the stride, few distinct values
    std::vector<float> logits(random() % 200 + 1);
    for (float& x : logits) x = static_cast<float>(random() % 5) - 2;
    const auto want = std::max_element(logits.begin(), logits.end()) - logits.begin();
    ASSERT_EQ(pick(logits, greedy()), want);
  }
}

TEST(SamplerTest, OneTokenAfterTheOtherTakesNoMemory) {
  struct Case {
    const char* name;
    SamplingParams params;
  };
  SamplingParams filtered{.top_p = 0.9f, .top_k = 40, .min_p = 0.01f};
  SamplingParams nucleus{.top_p = 0.9f};
  SamplingParams penalties{.repetition_penalty = 1.1f, .frequency_penalty = 0.5f};
  SamplingParams logprob;
  logprob.logprobs = 0;
  std::vector<float> logits(262144, 0.0f);
  const std::vector<TokenId> banned = {200000}, prompt = {1, 2, 3}, output = {4, 5, 4};
  for (const Case& c : {Case{"greedy", greedy()},
                        Case{"plain", {}},
                        Case{"filtered", filtered},
                        Case{"nucleus", nucleus},
                        Case{"penalties", penalties},
                        Case{"logprob", logprob}}) {
    int64_t before = 0;
    for (uint32_t position = 0; position < 4; ++position) {
      std::ranges::fill(logits, 0.0f);
      logits[200000] = 1;
      if (position < 2) before = allocations;  // the first ones may
      sample_token({.logits = logits,
                    .prompt = prompt,
                    .output = output,
                    .banned = banned,
                    .position = position},
                   c.params);
    }
    EXPECT_EQ(allocations - before, 0) << c.name;
  }
}

TEST(SamplerTest, BadLogits) {
  SamplingParams sampled;
  for (const SamplingParams& params : {greedy(), sampled}) {
    EXPECT_EQ(pick({kNan, -kInf, 2, kNan}, params), 2);
    EXPECT_EQ(pick({kNan, kNan, -kInf}, params), 0);
    EXPECT_EQ(pick({kNan, kNan, -kInf}, params, {}, {}, {0, 1}), 2);
    EXPECT_EQ(pick({3, kInf, 4}, params), 1);
    EXPECT_EQ(pick({1, 2}, params, {}, {}, {0, 1}), 0);  // everything banned: still an id
  }
  SamplingParams filtered;
  filtered.top_k = 2;
  filtered.top_p = 0.9f;
  filtered.min_p = 0.1f;
  EXPECT_EQ(pick({kNan, -kInf, 2, kNan}, filtered), 2);
  EXPECT_EQ(pick({3, kInf, 4, kNan}, filtered), 1);
  const std::vector<int> counts = histogram({kInf, 5, kInf, kNan}, sampled, 2000);
  EXPECT_GT(counts[0], 800);
  EXPECT_GT(counts[2], 800);
  EXPECT_EQ(counts[1] + counts[3], 0);
  EXPECT_EQ(
      pick({std::numeric_limits<float>::lowest(), std::numeric_limits<float>::max()}, sampled), 1);
}

TEST(SamplerTest, DistributionFollowsTheSoftmax) {
  const std::vector<float> logits = {0.0f, 1.0f, -1.0f, 2.0f, 0.5f, 0.5f, -kInf};
  for (float temperature : {0.5f, 1.0f, 2.0f}) {
    SamplingParams params;
    params.temperature = temperature;
    params.seed = 1234;
    // 5 degrees of freedom: the 0.1 % quantile is 20.5.
    EXPECT_LT(chi_square(histogram(logits, params, 40000), softmax(logits, temperature)), 20.5)
        << temperature;
  }
}

TEST(SamplerTest, FiltersKeepTheRightTokensInTheRightOrder) {
  // Probabilities 0.4, 0.3, 0.2, 0.1 in the order of ids 2, 0, 3, 1.
  const std::vector<float> logits = {
      std::log(0.3f), std::log(0.1f), std::log(0.4f), std::log(0.2f)};
  struct Case {
    int32_t top_k;
    float top_p;
    float min_p;
    std::vector<double> want;
  };
  const std::vector<Case> cases = {
      {0, 1.0f, 0.0f, {0.3, 0.1, 0.4, 0.2}},
      {2, 1.0f, 0.0f, {3.0 / 7, 0, 4.0 / 7, 0}},
      {9, 1.0f, 0.0f, {0.3, 0.1, 0.4, 0.2}},
      {1, 1.0f, 0.0f, {0, 0, 1, 0}},
      {0, 0.65f, 0.0f, {3.0 / 7, 0, 4.0 / 7, 0}},
      {0, 0.75f, 0.0f, {3.0 / 9, 0, 4.0 / 9, 2.0 / 9}},
      {0, 0.01f, 0.0f, {0, 0, 1, 0}},
      {3, 0.75f, 0.0f, {3.0 / 7, 0, 4.0 / 7, 0}},  // of what top-k left: 0.4 + 0.3 = 0.78 of 0.9
      {0, 1.0f, 0.45f, {3.0 / 9, 0, 4.0 / 9, 2.0 / 9}},
      {0, 1.0f, 1.0f, {0, 0, 1, 0}},
      {0, 0.95f, 0.6f, {3.0 / 7, 0, 4.0 / 7, 0}},
      {0, 0.3f, 0.1f, {0, 0, 1, 0}},
  };
  for (const Case& c : cases) {
    SamplingParams params;
    params.top_k = c.top_k;
    params.top_p = c.top_p;
    params.min_p = c.min_p;
    params.seed = 99;
    // At most 3 degrees of freedom: the 0.1 % quantile is 16.3.
    EXPECT_LT(chi_square(histogram(logits, params, 20000), c.want), 16.3)
        << c.top_k << ' ' << c.top_p << ' ' << c.min_p;
  }
}

TEST(SamplerTest, FilterTiesGoToTheLowerId) {
  SamplingParams params;
  params.top_k = 2;
  const std::vector<int> by_k = histogram({1, 1, 1, 1}, params, 2000);
  EXPECT_EQ(by_k[2] + by_k[3], 0);
  EXPECT_GT(std::min(by_k[0], by_k[1]), 800);
  params.top_k = 0;
  params.top_p = 0.3f;
  const std::vector<int> by_p = histogram({1, 1, 1, 1}, params, 2000);
  EXPECT_EQ(by_p[2] + by_p[3], 0);
  EXPECT_GT(std::min(by_p[0], by_p[1]), 800);
}

TEST(SamplerTest, FiltersThatRemoveNothingChangeNothing) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(1000);
  for (float& x : logits) x = normal(random);
  SamplingParams plain, all;
  plain.seed = all.seed = 3;
  all.min_p = 1e-30f;
  for (uint32_t i = 0; i < 500; ++i) {
    ASSERT_EQ(pick(logits, plain, {}, {}, {}, i), pick(logits, all, {}, {}, {}, i));
  }
}

// Against a slow twin that sorts everything, in double precision, on a vocabulary with a long tail.
TEST(SamplerTest, FiltersMatchAFullSort) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> logits(5000);
  for (float& x : logits) x = std::round(normal(random) * 64) / 64;  // many ties
  for (const auto& [k, p, m] : std::vector<std::tuple<int, float, float>>{{40, 1.0f, 0.0f},
                                                                          {0, 0.9f, 0.0f},
                                                                          {100, 0.8f, 0.0f},
                                                                          {0, 0.5f, 0.02f},
                                                                          {0, 0.999f, 0.0f}}) {
    std::vector<Candidate> order;
    for (size_t i = 0; i < logits.size(); ++i)
      order.push_back({static_cast<TokenId>(i), logits[i]});
    std::sort(order.begin(), order.end(), better);
    if (k > 0) order.resize(k);
    std::vector<double> weights;
    for (const Candidate& c : order) weights.push_back(std::exp(double{c.value} - order[0].value));
    const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
    double sum = 0;
    size_t kept = 0;
    while (kept < weights.size() && sum < p * total && weights[kept] >= m) sum += weights[kept++];
    std::vector<bool> allowed(logits.size());
    for (size_t i = 0; i < kept; ++i) allowed[order[i].id] = true;

    SamplingParams params;
    params.top_k = k;
    params.top_p = p;
    params.min_p = m;
    std::vector<bool> seen(logits.size());
    for (uint32_t i = 0; i < 3000; ++i) {
      const TokenId token = pick(logits, params, {}, {}, {}, i);
      ASSERT_TRUE(allowed[token]) << token << " with " << k << ' ' << p << ' ' << m;
      seen[token] = true;
    }
    if (k == 40) {
      EXPECT_EQ(std::count(seen.begin(), seen.end(), true), 40);
    }
  }
}

// best_needed() best give the token that all logits give.
TEST(SamplerTest, TheBestAreEnough) {
  std::mt19937 random(7);
  const auto any = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  int seen_few = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<float> logits(static_cast<size_t>(1 + any(200)));
    for (float& x : logits) x = static_cast<float>(any(40)) / 8 - 2;  // many ties
    for (int i = any(4); i > 0; --i) {
      const float special[] = {kInf, -kInf, kNan};
      logits[static_cast<size_t>(any(static_cast<int>(logits.size())))] = special[any(3)];
    }
    if (any(50) == 0) std::fill(logits.begin(), logits.end(), -kInf);
    SamplingParams params;
    params.temperature = any(4) == 0 ? 0.0f : 0.7f;
    params.top_k = any(70);
    params.top_p = any(2) == 0 ? 1.0f : 0.8f;
    params.min_p = any(2) == 0 ? 0.0f : 0.1f;
    params.seed = random();
    const int32_t needed = best_needed(params);
    if (needed == 0) continue;
    ++seen_few;
    const std::vector<Candidate> best = top_k_of(logits, needed);
    const TokenId few = sample_token({.best = best, .position = 3}, params).token;
    EXPECT_EQ(few, pick(logits, params, {}, {}, {}, 3)) << round;
  }
  EXPECT_GT(seen_few, 1000);
}

TEST(SamplerTest, WhatNeedsAllLogits) {
  EXPECT_EQ(best_needed(greedy()), 1);
  SamplingParams p;
  EXPECT_EQ(best_needed(p), 0);
  p.top_k = kMostBest;
  EXPECT_EQ(best_needed(p), kMostBest);
  p.top_k = kMostBest + 1;
  EXPECT_EQ(best_needed(p), 0);
  for (auto change : {+[](SamplingParams& q) { q.logprobs = 0; },
                      +[](SamplingParams& q) { q.logit_bias = {{1, 2.0f}}; },
                      +[](SamplingParams& q) { q.repetition_penalty = 1.1f; },
                      +[](SamplingParams& q) { q.frequency_penalty = 0.1f; },
                      +[](SamplingParams& q) { q.presence_penalty = 0.1f; }}) {
    SamplingParams q = greedy();
    change(q);
    EXPECT_EQ(best_needed(q), 0);
  }
}

TEST(SamplerTest, RepetitionPenaltyOverPromptAndOutputOnce) {
  SamplingParams params = greedy();
  params.repetition_penalty = 2;
  EXPECT_EQ(pick({4, 3, 1}, params, {0}), 1);  // 4 / 2 < 3
  EXPECT_EQ(pick({4, 3, 1}, params, {}, {0}), 1);
  EXPECT_EQ(pick({4, 1.5f, 1}, params, {0, 0}, {0}), 0);  // once: 2 > 1.5
  EXPECT_EQ(pick({-1, -1.5f}, params, {0}), 1);           // -1 * 2 < -1.5
  EXPECT_EQ(pick({0, -1}, params, {0}), 0);               // 0 stays 0
  EXPECT_EQ(pick({4, 3}, params, {-1, 2, 1 << 30}, {-7}), 0);
}

TEST(SamplerTest, FrequencyAndPresenceOverTheOutputOnly) {
  SamplingParams frequency = greedy();
  frequency.frequency_penalty = 1;
  EXPECT_EQ(pick({4, 2.5f}, frequency, {0, 0, 0, 0}), 0);
  EXPECT_EQ(pick({4, 2.5f}, frequency, {}, {0}), 0);
  EXPECT_EQ(pick({4, 2.5f}, frequency, {}, {0, 1, 0, 1, 0}), 0);  // 1 against 0.5
  EXPECT_EQ(pick({4, 2.5f}, frequency, {}, {0, 0}), 1);
  EXPECT_EQ(pick({4, 2.5f}, frequency, {}, {-1, 99, 0, 99}), 0);
  SamplingParams presence = greedy();
  presence.presence_penalty = 1;
  EXPECT_EQ(pick({4, 3.5f}, presence, {0}), 0);
  EXPECT_EQ(pick({4, 3.5f}, presence, {}, {0}), 1);
  EXPECT_EQ(pick({4, 2.5f}, presence, {}, {0, 0, 0}), 0);  // once however often
  presence.presence_penalty = -1;
  EXPECT_EQ(pick({4, 3.5f}, presence, {}, {1}), 1);
  // Order: (3 / 2) - 1 = 0.5, not (3 - 1) / 2 = 1.
  SamplingParams both = greedy();
  both.repetition_penalty = 2;
  both.presence_penalty = 1;
  EXPECT_EQ(pick({3, 0.75f}, both, {}, {0}), 1);
}

TEST(SamplerTest, LogitBiasBansAndChooses) {
  const std::vector<float> logits = {20, 5, -10, 0};
  SamplingParams params;
  params.logit_bias = {{0, -100}};
  EXPECT_EQ(histogram(logits, params, 500)[0], 0);
  params.logit_bias = {{2, 100}};
  EXPECT_EQ(histogram(logits, params, 500)[2], 500);
  params = greedy();
  params.logit_bias = {{1, 16}, {-1, 100}, {4, 100}};
  EXPECT_EQ(pick(logits, params), 1);
  // Before the penalties: (1 + 3) / 2 = 2 beats 1.5, but 1 / 2 + 3 = 3.5 would beat 3 too.
  params.logit_bias = {{0, 3}};
  params.repetition_penalty = 2;
  EXPECT_EQ(pick({1, 3}, params, {0}), 1);
}

TEST(SamplerTest, BannedTokensNeverCome) {
  SamplingParams params;
  params.logit_bias = {{1, 100}};
  for (uint32_t i = 0; i < 200; ++i) {
    ASSERT_NE(pick({0, 30, 1}, params, {}, {}, {1, -1, 77}, i), 1);
  }
}

TEST(SamplerTest, LogprobsAreOfTheUnmodifiedLogits) {
  std::vector<float> logits = {2, 1, 0, -1, 2};
  const std::vector<double> p = softmax(logits, 1.0);
  SamplingParams params;
  params.temperature = 0.5f;
  params.top_k = 1;
  params.logit_bias = {{3, 100}};
  params.logprobs = 3;
  const std::vector<TokenId> output = {0, 1, 2};
  const Sampled s = sample_token({.logits = logits, .output = output}, params);
  EXPECT_EQ(s.token, 3);
  ASSERT_TRUE(s.logprob);
  EXPECT_EQ(s.logprob->token, 3);
  EXPECT_NEAR(s.logprob->logprob, std::log(p[3]), 1e-6);
  ASSERT_EQ(s.top.size(), 3u);
  EXPECT_EQ(s.top[0].token, 0);
  EXPECT_EQ(s.top[1].token, 4);
  EXPECT_EQ(s.top[2].token, 1);
  EXPECT_NEAR(s.top[1].logprob, std::log(p[4]), 1e-6);

  logits = {1, 2};
  params = greedy();
  params.logprobs = 0;
  const Sampled none = sample_token({.logits = logits}, params);
  EXPECT_TRUE(none.logprob);
  EXPECT_TRUE(none.top.empty());

  logits = {kNan, kInf, -kInf, 3};
  params.logprobs = 5;
  const Sampled odd = sample_token({.logits = logits}, params);
  EXPECT_EQ(odd.token, 1);
  EXPECT_EQ(odd.logprob->logprob, 0.0f);
  ASSERT_EQ(odd.top.size(), 2u);
  EXPECT_EQ(odd.top[1].token, 3);
  EXPECT_EQ(odd.top[1].logprob, -kInf);

  logits = {kNan, -kInf};
  EXPECT_EQ(sample_token({.logits = logits}, params).logprob->logprob, -kInf);
}

TEST(SamplerTest, SamplesDifferAndRepeat) {
  const std::vector<float> logits(100, 0.0f);
  SamplingParams params;
  params.seed = 5;
  std::vector<TokenId> first, again, other;
  for (uint32_t i = 0; i < 50; ++i) {
    std::vector<float> a = logits, b = logits, c = logits;
    first.push_back(sample_token({.logits = a, .sample = 0, .position = i}, params).token);
    again.push_back(sample_token({.logits = b, .sample = 0, .position = i}, params).token);
    other.push_back(sample_token({.logits = c, .sample = 1, .position = i}, params).token);
  }
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
}

}  // namespace
}  // namespace farthing
