#include "sched/scheduler.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace farthing {
namespace {

Request request_of(int32_t prompt, int32_t max_tokens, int32_t n = 1) {
  Request r;
  r.prompt.assign(static_cast<size_t>(prompt), 7);
  r.max_tokens = max_tokens;
  r.n = n;
  return r;
}

// Runs one step in which every slice with logits picks `token`.
Batch step(Scheduler& scheduler, TokenId token = 1, bool stop = false) {
  Batch batch = scheduler.plan(TimePoint{});
  std::vector<Picked> picked;
  for (const Slice& s : batch.slices) {
    if (s.n_logits > 0) picked.push_back({s.sequence->id, token, stop});
  }
  Batch copy = batch;
  scheduler.commit(batch, picked);
  scheduler.check_integrity();
  return copy;
}

TEST(Scheduler, PrefillsInChunksThenDecodes) {
  KVPool pool(8);
  Scheduler scheduler({.context = 128, .max_sequences = 1, .max_step_tokens = 10}, pool);
  scheduler.add(RequestId{1}, request_of(25, 3));
  const int32_t counts[] = {10, 10, 5, 1, 1};
  const int32_t logits[] = {0, 0, 1, 1, 1};
  for (int i = 0; i < 5; ++i) {
    Batch b = scheduler.plan(TimePoint{});
    ASSERT_EQ(b.slices.size(), 1u);
    EXPECT_EQ(b.slices[0].count, counts[i]);
    EXPECT_EQ(b.slices[0].n_logits, logits[i]);
    step(scheduler);
  }
  const auto ended = scheduler.take_ended();
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].reason, FinishReason::kLength);
  EXPECT_TRUE(scheduler.idle());
  EXPECT_EQ(pool.n_free(), 8);
}

TEST(Scheduler, DecodesComeBeforePrefills) {
  KVPool pool(8);
  Scheduler scheduler({.context = 64, .max_sequences = 4, .max_step_tokens = 8}, pool);
  scheduler.add(RequestId{1}, request_of(2, 20));
  step(scheduler);
  scheduler.add(RequestId{2}, request_of(30, 5));
  Batch b = scheduler.plan(TimePoint{});
  ASSERT_EQ(b.slices.size(), 2u);
  EXPECT_EQ(b.slices[0].sequence->request, RequestId{1});
  EXPECT_EQ(b.slices[0].count, 1);
  EXPECT_EQ(b.slices[1].count, 7);
}

TEST(Scheduler, WithoutKVCacheThePrefixIsComputedAgain) {
  KVPool pool(4);
  Scheduler scheduler({.context = 64, .max_sequences = 1, .max_step_tokens = 16, .kv_cache = false},
                      pool);
  scheduler.add(RequestId{1}, request_of(5, 3));
  for (int32_t expected : {5, 6, 7}) {
    Batch b = scheduler.plan(TimePoint{});
    EXPECT_EQ(b.slices[0].first, 0);
    EXPECT_EQ(b.slices[0].count, expected);
    step(scheduler);
  }
  EXPECT_TRUE(scheduler.idle());
}

TEST(Scheduler, EndsByStopCancelAndDeadline) {
  KVPool pool(8);
  Scheduler scheduler({.context = 64, .max_sequences = 2, .max_step_tokens = 16}, pool);
  scheduler.add(RequestId{1}, request_of(3, 9));
  step(scheduler, 5, /*stop=*/true);
  scheduler.add(RequestId{2}, request_of(3, 9, 3));
  step(scheduler);
  scheduler.end(RequestId{2}, FinishReason::kCancelled);
  scheduler.end(RequestId{99}, FinishReason::kCancelled);
  Request late = request_of(3, 9);
  late.deadline = TimePoint{} + std::chrono::seconds(1);
  scheduler.add(RequestId{3}, late);
  EXPECT_TRUE(scheduler.plan(TimePoint{} + std::chrono::seconds(2)).slices.empty());
  std::vector<FinishReason> reasons;
  for (const Ended& e : scheduler.take_ended()) reasons.push_back(e.reason);
  using enum FinishReason;
  EXPECT_EQ(reasons,
            (std::vector<FinishReason>{kStop, kCancelled, kCancelled, kCancelled, kDeadline}));
  EXPECT_TRUE(scheduler.idle());
  EXPECT_EQ(pool.n_free(), 8);
}

// Any trace: every sequence ends once, the budget holds, tokens are computed once each and in
// order, no block leaks.
TEST(Scheduler, RandomTraces) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    std::mt19937 rng(seed);
    const SchedulerOptions options{.context = 96,
                                   .max_sequences = 1 + static_cast<int32_t>(rng() % 5),
                                   .max_step_tokens = 5 + static_cast<int32_t>(rng() % 30),
                                   .kv_cache = rng() % 4 != 0};
    KVPool pool(3 + static_cast<int32_t>(rng() % 12));
    Scheduler scheduler(options, pool);
    uint32_t n_added = 0;
    uint32_t n_sequences = 0;
    std::map<SequenceId, int32_t> ended;
    for (int i = 0; i < 400 || !scheduler.idle(); ++i) {
      ASSERT_LT(i, 20000) << "a sequence starves, seed " << seed;
      if (i < 400 && rng() % 5 == 0) {
        const int32_t n = 1 + static_cast<int32_t>(rng() % 3);
        scheduler.add(
            RequestId{n_added++},
            request_of(
                1 + static_cast<int32_t>(rng() % 60), 1 + static_cast<int32_t>(rng() % 40), n));
        n_sequences += static_cast<uint32_t>(n);
      }
      if (n_added > 0 && rng() % 40 == 0) {
        scheduler.end(RequestId{static_cast<uint32_t>(rng() % n_added)}, FinishReason::kCancelled);
      }
      const Batch batch = scheduler.plan(TimePoint{});
      ASSERT_LE(batch.n_tokens(), options.max_step_tokens);
      ASSERT_TRUE(!batch.slices.empty() || scheduler.idle());
      std::vector<Picked> picked;
      for (const Slice& s : batch.slices) {
        ASSERT_EQ(s.first, s.sequence->n_stored);
        ASSERT_EQ(s.n_logits, s.first + s.count == s.sequence->size() ? 1 : 0);
        if (s.n_logits > 0) picked.push_back({s.sequence->id, 1, rng() % 30 == 0});
      }
      scheduler.commit(batch, picked);
      scheduler.check_integrity();
      for (const Ended& e : scheduler.take_ended()) ++ended[e.sequence];
    }
    EXPECT_EQ(ended.size(), n_sequences);
    for (const auto& [id, times] : ended) EXPECT_EQ(times, 1);
    EXPECT_EQ(pool.n_free(), pool.n_blocks());
  }
}

}  // namespace
}  // namespace farthing
