#include "sched/scheduler.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

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
  EXPECT_EQ(pool.n_leased(), 0);
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

TEST(Scheduler, SaysHowLongASequenceWaitedAndWhy) {
  KVPool pool(8);
  Scheduler scheduler({.context = 64, .max_sequences = 1, .max_step_tokens = 16}, pool);
  const auto run = [&](double now) {
    const auto at = TimePoint{} + std::chrono::milliseconds(static_cast<int64_t>(now * 1e3));
    const Batch batch = scheduler.plan(at);
    std::vector<Picked> picked;
    for (const Slice& s : batch.slices) picked.push_back({s.sequence->id, 1, now >= 2});
    scheduler.commit(batch, picked);
  };
  scheduler.add(RequestId{1}, request_of(3, 9));
  scheduler.add(RequestId{2}, request_of(4, 9));
  for (double now : {0., 1., 2., 3.5}) run(now);
  const auto ended = scheduler.take_ended();
  ASSERT_EQ(ended.size(), 2u);
  EXPECT_EQ(ended[0].waited, WaitSeconds{});
  WaitSeconds waited{};
  waited[static_cast<size_t>(WaitReason::kSlots)] = 3.5;
  EXPECT_EQ(ended[1].waited, waited);
}

TEST(Scheduler, AStepsTimeIsDividedAmongItsSlices) {
  KVPool pool(16);
  Scheduler scheduler({.context = 64, .max_sequences = 3, .max_step_tokens = 64}, pool);
  std::vector<double> shares;
  const auto sum_is_one = [&] {
    double sum = 0;
    for (double share : shares) {
      EXPECT_GT(share, 0);
      sum += share;
    }
    EXPECT_NEAR(sum, 1, 1e-12);
  };
  scheduler.add(RequestId{1}, request_of(2, 50));
  scheduler.add(RequestId{2}, request_of(30, 50));
  Batch batch = scheduler.plan(TimePoint{});
  ASSERT_EQ(batch.slices.size(), 2u);
  scheduler.shares(batch, shares);
  sum_is_one();
  EXPECT_NEAR(shares[1] / shares[0], 15, 1e-9);  // by tokens, as long as no step was seen
  step(scheduler);
  // Steps of 10 ms and 1 ms a token: two tokens alike share a step alike.
  for (int i = 0; i < 12; ++i) {
    batch = scheduler.plan(TimePoint{});
    scheduler.observe(batch, 0.010 + 0.001 * batch.n_tokens());
    step(scheduler);
  }
  scheduler.add(RequestId{3}, request_of(20, 50));
  batch = scheduler.plan(TimePoint{});
  ASSERT_EQ(batch.slices.size(), 3u);
  scheduler.shares(batch, shares);
  ASSERT_EQ(shares.size(), 3u);
  sum_is_one();
  EXPECT_GT(shares[2], shares[0]);
}

// 1 ms a token: with nothing else to do a step is a quarter of a second long, and ends at the next
// deadline.
TEST(Scheduler, NoStepTakesLong) {
  KVPool pool(600);
  Scheduler scheduler({.context = 8192, .max_sequences = 2, .max_step_tokens = 512}, pool);
  Request large = request_of(1, 1);
  large.prompt.clear();
  for (TokenId i = 0; i < 8000; ++i) large.prompt.push_back(i);
  scheduler.add(RequestId{1}, large);
  TimePoint now{};
  const auto run = [&] {
    const Batch batch = scheduler.plan(now);
    scheduler.observe(batch, 0.001 * batch.n_tokens());
    now += std::chrono::milliseconds(batch.n_tokens());
    scheduler.commit(batch, {});
    EXPECT_EQ(batch.slices[0].cut, batch.n_tokens() == 512 ? SliceCut::kChunk : SliceCut::kTime);
    return batch.n_tokens();
  };
  EXPECT_EQ(run(), 512);  // nothing is known yet
  while (scheduler.step_model().n_observed() < 8) run();
  EXPECT_NEAR(run(), 250, 5);
  Request urgent = request_of(5, 1);
  urgent.deadline = now + std::chrono::milliseconds(120);
  scheduler.add(RequestId{2}, urgent, now);
  const Batch batch = scheduler.plan(now);
  EXPECT_NEAR(batch.n_tokens(), 120, 5);
  EXPECT_GT(scheduler.counts().cuts[static_cast<size_t>(SliceCut::kTime)], 2);
}

TEST(Scheduler, SaysWhyPromptsAreCutAndWait) {
  KVPool pool(64);
  Scheduler scheduler({.context = 512, .max_sequences = 4, .max_step_tokens = 16}, pool);
  const auto prompt = [](TokenId first, int32_t n) {
    Request r = request_of(1, 4);
    r.prompt.clear();
    for (int32_t i = 0; i < n; ++i) r.prompt.push_back(first + i);
    return r;
  };
  const auto cuts = [&](SliceCut cut) { return scheduler.counts().cuts[static_cast<size_t>(cut)]; };
  scheduler.add(RequestId{1}, prompt(100, 40));
  EXPECT_EQ(step(scheduler).slices[0].cut, SliceCut::kChunk);
  EXPECT_EQ(cuts(SliceCut::kChunk), 1);
  scheduler.add(RequestId{2}, prompt(500, 12));
  scheduler.add(RequestId{3}, prompt(900, 200));
  const Batch batch = step(scheduler);  // the oldest has its part, the shortest the rest
  ASSERT_EQ(batch.slices.size(), 2u);
  EXPECT_EQ(batch.slices[0].cut, SliceCut::kBudget);
  EXPECT_EQ(batch.slices[1].cut, SliceCut::kNone);
  EXPECT_EQ(scheduler.counts().waits[static_cast<size_t>(WaitReason::kBudget)], 1);
  EXPECT_EQ(scheduler.counts().misses[static_cast<size_t>(CacheMiss::kNoEntry)], 2);
}

TEST(Scheduler, TheBacklogIsWhatIsLeftToDo) {
  KVPool pool(64);
  Scheduler scheduler({.context = 512, .max_sequences = 2, .max_step_tokens = 64}, pool);
  EXPECT_EQ(scheduler.backlog().n_sequences, 0);
  const auto run = [&] {  // 10 ms a step, 1 ms a token
    const Batch batch = scheduler.plan(TimePoint{});
    scheduler.observe(batch, 0.01 + 0.001 * batch.n_tokens());
    std::vector<Picked> picked;
    for (const Slice& s : batch.slices) {
      if (s.n_logits > 0) picked.push_back({s.sequence->id, 1, false});
    }
    scheduler.commit(batch, picked);
  };
  scheduler.add(RequestId{1}, request_of(40, 20));
  Backlog backlog = scheduler.backlog();
  EXPECT_EQ(backlog.prompt_tokens, 40);
  EXPECT_EQ(backlog.answer_tokens, 20);
  EXPECT_EQ(backlog.seconds, 0);
  for (int i = 0; i < 10; ++i) run();
  backlog = scheduler.backlog();
  EXPECT_EQ(backlog.prompt_tokens, 0);
  EXPECT_EQ(backlog.answer_tokens, 10);
  EXPECT_NEAR(backlog.seconds, 10 * 0.011, 0.02);
  while (!scheduler.idle()) run();
  EXPECT_EQ(scheduler.backlog().seconds, 0);
  // Answers have had 20 tokens so far, whatever they are allowed.
  for (uint32_t i = 2; i < 6; ++i) scheduler.add(RequestId{i}, request_of(1, 400));
  backlog = scheduler.backlog();
  EXPECT_EQ(backlog.n_sequences, 4);
  EXPECT_EQ(backlog.answer_tokens, 80);
  EXPECT_NEAR(backlog.seconds, 40 * 0.012, 0.1);  // two at a time
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
  EXPECT_EQ(pool.n_leased(), 0);
}

// What a model would write: each position's entry tells all tokens up to it, so that a step that
// read another sequence's K and V, or stale ones, is seen.
class Contents {
 public:
  explicit Contents(int32_t n_blocks) : entries_(static_cast<size_t>(n_blocks * kKVBlockTokens)) {}

  // salt_of(request): sequences of different salts write different entries for the same tokens, so
  // that none reads another's.
  template <class SaltOf>
  void run(const Batch& batch, SaltOf&& salt_of) {
    for (const BlockCopy& copy : batch.copies) {
      for (int32_t i = 0; i < kKVBlockTokens; ++i) at(copy.to, i) = at(copy.from, i);
    }
    for (const Slice& slice : batch.slices) {
      const Sequence& s = *slice.sequence;
      uint64_t prefix = 1 + salt_of(s.request);
      for (int32_t p = 0; p < slice.first + slice.count; ++p) {
        prefix = prefix * 0x9e3779b97f4a7c15u +
                 static_cast<uint64_t>(s.tokens[static_cast<size_t>(p)]) + 1;
        uint64_t& entry = at(s.blocks[static_cast<size_t>(p / kKVBlockTokens)], p % kKVBlockTokens);
        if (p < slice.first) {
          RC_ASSERT(entry == prefix);
        } else {
          entry = prefix;
        }
      }
    }
  }

 private:
  uint64_t& at(BlockId block, int32_t slot) {
    return entries_[block.v * kKVBlockTokens + static_cast<size_t>(slot)];
  }
  std::vector<uint64_t> entries_;
};

// What happens before a step.
struct Arrival {
  int family = 0;  // prompts of one family begin alike
  int32_t common = 0, rest = 1, max_tokens = 1, n = 1;
  int32_t priority = 0;
  bool has_deadline = false;
  int cancels = -1;  // an earlier request
};

Request request_of(const Arrival& a, uint32_t id, TimePoint now) {
  Request r;
  for (int32_t i = 0; i < a.common; ++i) r.prompt.push_back(100 * a.family + i % 50);
  for (int32_t i = 0; i < a.rest; ++i) r.prompt.push_back(static_cast<TokenId>(1000 + id % 5));
  r.max_tokens = a.max_tokens;
  r.n = a.n;
  r.priority = a.priority;
  r.caller = id % 3;
  r.salt = {static_cast<uint64_t>(a.family % 2), 0};
  if (a.has_deadline) r.deadline = now + std::chrono::seconds(30);
  return r;
}

rc::Gen<Arrival> any_arrival() {
  using namespace rc;
  return gen::build<Arrival>(
      gen::set(&Arrival::family, gen::inRange(0, 4)),
      gen::set(&Arrival::common, gen::inRange(0, 100)),
      gen::set(&Arrival::rest, gen::inRange(1, 50)),
      gen::set(&Arrival::max_tokens, gen::inRange(0, 60)),
      gen::set(&Arrival::n, gen::inRange(1, 4)),
      gen::set(&Arrival::priority, gen::inRange(-3, 3)),
      gen::set(&Arrival::has_deadline, gen::weightedElement<bool>({{9, false}, {1, true}})),
      gen::set(&Arrival::cancels, gen::inRange(-20, 10)));
}

rc::Gen<SchedulerOptions> any_options() {
  using namespace rc;
  return gen::build<SchedulerOptions>(
      gen::construct<SchedulerOptions>(),
      gen::set(&SchedulerOptions::context, gen::just(224)),
      gen::set(&SchedulerOptions::max_sequences, gen::inRange(1, 7)),
      gen::set(&SchedulerOptions::max_step_tokens, gen::inRange(7, 80)),
      gen::set(&SchedulerOptions::kv_cache, gen::weightedElement<bool>({{5, true}, {1, false}})),
      gen::set(&SchedulerOptions::prefix_cache,
               gen::weightedElement<bool>({{5, true}, {1, false}})),
      gen::set(&SchedulerOptions::paged, gen::weightedElement<bool>({{5, true}, {1, false}})),
      gen::set(&SchedulerOptions::batching,
               gen::weightedElement<Batching>(
                   {{6, Batching::kContinuous}, {1, Batching::kStatic}, {1, Batching::kOff}})),
      gen::set(&SchedulerOptions::itl_target,
               gen::weightedElement<double>({{1, 0.0}, {1, 0.0015}, {1, 0.02}})),
      gen::set(&SchedulerOptions::policy,
               gen::map(gen::inRange(0, static_cast<int>(all_policies().size())),
                        [](int i) { return static_cast<Policy>(i); })));
}

// What the model of the property below chooses behind the first `size` tokens of a sequence.
TokenId chosen(const Sequence& s, int32_t size) {
  return (size + (size > 40 ? static_cast<int32_t>(s.sample) : 0)) % 7;
}

// Right in four of five tokens.
class OracleDrafter : public Drafter {
 public:
  void guess(std::span<Draft* const> drafts, double /*spare*/) override {
    for (Draft* draft : drafts) {
      const Sequence& s = *draft->sequence;
      const int32_t size = s.size();
      for (int32_t i = 0; i < draft->most; ++i)
        draft->push((chosen(s, size + i) + ((size + i) % 5 == 0 ? 1 : 0)) % 7,
                    size % kDraftClasses);
    }
  }
  void forget(SequenceId) override {}
};

// Guesses any number of tokens of any class, right or wrong, at any cost.
class RandomDrafter : public Drafter {
 public:
  explicit RandomDrafter(uint32_t seed) : random_(seed) {}

  void guess(std::span<Draft* const> drafts, double spare) override {
    RC_ASSERT(spare >= 0);
    for (Draft* draft : drafts) {
      const Sequence& s = *draft->sequence;
      const int32_t size = s.size();
      RC_ASSERT(s.n_draft == 0 && s.n_stored == size - 1);
      RC_ASSERT(draft->most > 0 && draft->most < draft->left);
      RC_ASSERT(size + draft->most <= static_cast<int32_t>(s.blocks.size()) * kKVBlockTokens);
      const auto n = static_cast<int32_t>(random_() % static_cast<uint32_t>(draft->most + 1));
      for (int32_t i = 0; i < n; ++i) {
        const int32_t wrong = random_() % 4 == 0 ? 1 : 0;
        draft->push((chosen(s, size + i) + wrong) % 7,
                    static_cast<int32_t>(random_() % kDraftClasses));
      }
      known_[s.id] = draft->salt;
    }
    spent_ = costs_ ? static_cast<double>(random_() % 1000) * 1e-6 : 0;
  }
  Cost cost(std::span<Draft* const> drafts) override {
    costs_ = random_() % 2 == 0;
    for (Draft* draft : drafts) draft->unread = random_() % 3 == 0 ? 0.01 : 0;
    return {.pass = costs_ ? static_cast<double>(random_() % 1000) * 1e-7 : 0};
  }
  double spent() const override { return spent_; }
  void forget(SequenceId id) override { known_.erase(id); }
  void learn(const Sequence& s, CacheSalt salt) override {
    RC_ASSERT(s.n_draft == 0 && s.n_generated() > 0);
    const auto known = known_.find(s.id);
    RC_ASSERT(known == known_.end() || known->second == salt);
    ++n_learned_;
  }
  bool empty() const { return known_.empty(); }
  int n_learned() const { return n_learned_; }

 private:
  std::mt19937 random_;
  std::map<SequenceId, CacheSalt> known_;
  bool costs_ = false;
  double spent_ = 0;
  int n_learned_ = 0;
};

// Any trace under any options: every sequence ends once, the budget holds, tokens are computed in
// order and on what was stored for them, nobody starves, no block leaks.
RC_GTEST_PROP(SchedulerProperty, AnyTrace, ()) {
  SchedulerOptions options = *any_options();
  RandomDrafter drafter(*rc::gen::arbitrary<uint32_t>());
  if (*rc::gen::weightedElement<bool>({{3, true}, {1, false}})) options.drafts.drafter = &drafter;
  options.drafts.most_drafted = *rc::gen::inRange(0, 40);
  options.drafts.draft_tokens = *rc::gen::element(0, 0, 1, 5, 15);
  const auto arrivals = *rc::gen::container<std::vector<Arrival>>(any_arrival());
  const int32_t n_blocks = *rc::gen::inRange(7, 24);  // a full context, or a few
  KVPool pool(n_blocks);
  Scheduler scheduler(options, pool);
  Contents contents(n_blocks);
  std::map<SequenceId, int32_t> ended;
  uint32_t n_sequences = 0;
  uint32_t n_added = 0;
  int n_complete = 0;
  for (int step = 0; n_added < arrivals.size() || !scheduler.idle(); ++step) {
    RC_ASSERT(step < 20000);
    const TimePoint now = TimePoint{} + std::chrono::milliseconds(100 * step);
    if (n_added < arrivals.size() && step % 3 != 0) {
      const Arrival& a = arrivals[n_added];
      if (a.cancels >= 0 && static_cast<uint32_t>(a.cancels) < n_added)
        scheduler.end(RequestId{static_cast<uint32_t>(a.cancels)}, FinishReason::kCancelled);
      scheduler.add(RequestId{n_added}, request_of(a, n_added, now), now);
      n_sequences += static_cast<uint32_t>(a.n);
      ++n_added;
      scheduler.check_integrity();
    }
    const Batch batch = scheduler.plan(now);
    scheduler.check_integrity();
    RC_ASSERT(batch.n_tokens() <= options.max_step_tokens);
    RC_ASSERT(!batch.slices.empty() || scheduler.idle());
    contents.run(batch,
                 [&](RequestId id) { return static_cast<uint64_t>(arrivals[id.v].family % 2); });
    std::vector<Picked> picked;
    for (const Slice& s : batch.slices) {
      RC_ASSERT(s.first == s.sequence->n_stored);
      RC_ASSERT(s.n_draft == s.sequence->n_draft);
      const int32_t size = s.sequence->size();
      const bool chooses =
          s.first + s.count == size + s.n_draft && arrivals[s.sequence->request.v].max_tokens > 0;
      RC_ASSERT(s.n_logits == (chooses ? 1 + s.n_draft : 0));
      for (int32_t i = 0; i < s.n_logits; ++i) {
        const TokenId token = chosen(*s.sequence, size + i);
        const bool stop = (step + size + i) % 41 == 0;
        picked.push_back({s.sequence->id, token, stop});
        if (stop || (i < s.n_draft && s.sequence->tokens[static_cast<size_t>(size + i)] != token))
          break;
      }
    }
    scheduler.observe(batch, 0.0005 + 0.00005 * batch.n_tokens());
    scheduler.commit(batch, picked);
    scheduler.check_integrity();
    for (const Ended& e : scheduler.take_ended()) {
      ++ended[e.sequence];
      const bool complete = e.reason == FinishReason::kStop || e.reason == FinishReason::kLength;
      n_complete += complete && arrivals[e.request.v].max_tokens > 0 ? 1 : 0;
    }
  }
  RC_ASSERT(ended.size() == n_sequences);
  const bool drafts = options.drafts.drafter != nullptr && options.drafts.most_drafted > 0;
  RC_ASSERT(drafter.n_learned() == (drafts ? n_complete : 0));
  for (const auto& [id, times] : ended) RC_ASSERT(times == 1);
  RC_ASSERT(pool.n_leased() == 0);
  RC_ASSERT(drafter.empty());
}

std::vector<TokenId> distinct(TokenId first, int32_t n) {
  std::vector<TokenId> tokens;
  for (int32_t i = 0; i < n; ++i) tokens.push_back(first + i);
  return tokens;
}

TEST(Scheduler, AWarmPrefixIsNotComputedAgain) {
  KVPool pool(32);
  Scheduler scheduler({.context = 256, .max_sequences = 4, .max_step_tokens = 512}, pool);
  Request first = request_of(1, 1);
  first.prompt = distinct(0, 100);
  scheduler.add(RequestId{1}, first);
  step(scheduler);
  EXPECT_TRUE(scheduler.idle());
  Request second = first;
  second.prompt = distinct(0, 90);
  second.prompt.push_back(7777);
  scheduler.add(RequestId{2}, second);
  const Batch b = step(scheduler);
  EXPECT_EQ(b.slices[0].first, 90);
  EXPECT_EQ(b.slices[0].count, 1);
  ASSERT_EQ(b.copies.size(), 1u);
  const auto ended = scheduler.take_ended();
  ASSERT_EQ(ended.size(), 2u);
  EXPECT_EQ(ended[0].n_cached, 0);
  EXPECT_EQ(ended[0].miss, CacheMiss::kNoEntry);
  EXPECT_EQ(ended[1].n_cached, 90);
  EXPECT_EQ(scheduler.counts().prompt_tokens_cached, 90);
  EXPECT_EQ(scheduler.counts().prompt_tokens_computed, 101);
}

TEST(Scheduler, SamplesOfOneRequestComputeItsPromptOnce) {
  KVPool pool(32);
  Scheduler scheduler({.context = 256, .max_sequences = 8, .max_step_tokens = 64}, pool);
  Request request = request_of(1, 3, 4);
  request.prompt = distinct(0, 100);
  scheduler.add(RequestId{1}, request);
  std::vector<int32_t> tokens;
  while (!scheduler.idle()) tokens.push_back(step(scheduler).n_tokens());
  // The prompt; the first sample's second token and the last prompt token of the three others; ...
  EXPECT_EQ(tokens, (std::vector<int32_t>{64, 36, 4, 4, 3}));
  EXPECT_EQ(scheduler.counts().prompt_tokens_computed, 103);
}

TEST(Scheduler, WhatIsBeingComputedIsWaitedFor) {
  KVPool pool(32);
  Scheduler scheduler({.context = 256, .max_sequences = 8, .max_step_tokens = 40}, pool);
  for (uint32_t id = 1; id <= 3; ++id) {
    Request request = request_of(1, 2);
    request.prompt = distinct(0, 96);
    request.prompt.push_back(static_cast<TokenId>(1000 + id));
    scheduler.add(RequestId{id}, request);
  }
  Request other = request_of(1, 2);
  other.prompt = distinct(500, 10);
  scheduler.add(RequestId{9}, other);
  std::vector<int32_t> tokens;
  while (!scheduler.idle()) tokens.push_back(step(scheduler).n_tokens());
  EXPECT_EQ(scheduler.counts().prompt_tokens_computed, 97 + 2 + 10);
  EXPECT_EQ(tokens[0], 40);
}

TEST(Scheduler, TheYoungestIsPreemptedAndEndsAllTheSame) {
  KVPool pool(8);
  Scheduler scheduler({.context = 256, .max_sequences = 2, .max_step_tokens = 512}, pool);
  for (uint32_t id = 1; id <= 2; ++id) {
    Request request = request_of(1, 60);
    request.prompt = distinct(static_cast<TokenId>(1000 * id), 90);
    scheduler.add(RequestId{id}, request);
  }
  while (!scheduler.idle()) step(scheduler);
  const auto ended = scheduler.take_ended();
  ASSERT_EQ(ended.size(), 2u);
  EXPECT_EQ(ended[0].request, RequestId{1});
  EXPECT_EQ(ended[0].n_preempted, 0);
  EXPECT_GE(ended[1].n_preempted, 1);
  EXPECT_GE(scheduler.counts().preemptions, 1);
}

// A draft is checked in one step; its right tokens and one more are the step's.
TEST(Scheduler, DraftsAreComputedAtOnceAndKeptAsFarAsTheyAreRight) {
  KVPool pool(16);
  OracleDrafter drafter;
  Scheduler scheduler({.context = 256,
                       .max_sequences = 2,
                       .max_step_tokens = 64,
                       .drafts = {.drafter = &drafter, .most_drafted = 32}},
                      pool);
  scheduler.add(RequestId{1}, request_of(6, 60));
  int n_steps = 0;
  std::vector<TokenId> tokens;
  while (!scheduler.idle()) {
    const Batch batch = scheduler.plan(TimePoint{});
    ASSERT_EQ(batch.slices.size(), 1u);
    const Slice& s = batch.slices[0];
    const int32_t size = s.sequence->size();
    std::vector<Picked> picked;
    for (int32_t i = 0; i <= s.n_draft; ++i) {
      picked.push_back({s.sequence->id, chosen(*s.sequence, size + i), false});
      tokens.push_back(picked.back().token);
      if (i < s.n_draft && s.sequence->tokens[static_cast<size_t>(size + i)] != tokens.back())
        break;
    }
    scheduler.observe(batch, 0.01 + 0.0001 * batch.n_tokens());  // a drafted token costs 1 %
    scheduler.commit(batch, picked);
    scheduler.check_integrity();
    ++n_steps;
  }
  ASSERT_EQ(tokens.size(), 60u);
  for (int32_t i = 0; i < 60; ++i) EXPECT_EQ(tokens[static_cast<size_t>(i)], (6 + i) % 7);
  EXPECT_LT(n_steps, 30);
  EXPECT_EQ(scheduler.counts().accepted_tokens, 60 - n_steps);
  EXPECT_GT(scheduler.counts().drafted_tokens, scheduler.counts().accepted_tokens);
}

TEST(Scheduler, StaticBatchingWaitsForTheLast) {
  KVPool pool(32);
  Scheduler scheduler(
      {.context = 64, .max_sequences = 2, .max_step_tokens = 64, .batching = Batching::kStatic},
      pool);
  for (uint32_t id = 1; id <= 3; ++id) {
    Request request = request_of(1, static_cast<int32_t>(2 * id));
    request.prompt = distinct(static_cast<TokenId>(100 * id), 5);
    scheduler.add(RequestId{id}, request);
  }
  std::vector<size_t> slices;
  while (!scheduler.idle()) slices.push_back(step(scheduler).slices.size());
  EXPECT_EQ(slices, (std::vector<size_t>{2, 2, 1, 1, 1, 1, 1, 1, 1, 1}));
}

TEST(Scheduler, PoliciesOrderTheQueue) {
  struct Case {
    Policy policy;
    std::vector<uint32_t> order;
  };
  // Request 0 runs first and leaves its prefix; the others wait for its slot.
  const Case cases[] = {{Policy::kFcfs, {1, 2, 3}},
                        {Policy::kPriority, {3, 1, 2}},
                        {Policy::kLongestPrefix, {2, 1, 3}},
                        {Policy::kShortestPrefill, {3, 2, 1}},
                        {Policy::kFairShare, {1, 3, 2}},
                        {Policy::kDeadline, {2, 3, 1}}};
  for (const Case& c : cases) {
    KVPool pool(32);
    Scheduler scheduler(
        {.context = 256, .max_sequences = 1, .max_step_tokens = 512, .policy = c.policy}, pool);
    Request zero = request_of(1, 1);
    zero.prompt = distinct(0, 64);
    scheduler.add(RequestId{0}, zero);
    step(scheduler);
    scheduler.take_ended();
    for (uint32_t id = 1; id <= 3; ++id) {
      Request r = request_of(1, 1);
      r.prompt =
          id == 2 ? distinct(0, 100) : distinct(static_cast<TokenId>(1000 * id), id == 1 ? 50 : 20);
      r.priority = id == 3 ? -1 : 0;
      r.caller = id == 3 ? 1 : 0;
      if (id > 1) r.deadline = TimePoint{} + std::chrono::seconds(50 * id);
      scheduler.add(RequestId{id}, r, TimePoint{});
    }
    std::vector<uint32_t> order;
    while (!scheduler.idle()) step(scheduler);
    for (const Ended& e : scheduler.take_ended()) order.push_back(e.request.v);
    EXPECT_EQ(order, c.order) << policy_row(c.policy).name;
  }
}

// Every fourth admission is of who has waited longest.
TEST(Scheduler, NobodyStarvesUnderAnyPolicy) {
  for (const PolicyRow& policy : all_policies()) {
    KVPool pool(32);
    Scheduler scheduler(
        {.context = 64, .max_sequences = 1, .max_step_tokens = 64, .policy = policy.policy}, pool);
    Request large = request_of(40, 1);
    large.priority = 1000;
    large.caller = 1;
    scheduler.add(RequestId{0}, large, TimePoint{});
    std::vector<uint32_t> order;
    for (uint32_t id = 1; id <= 30; ++id) {
      const TimePoint now = TimePoint{} + std::chrono::seconds(id);
      Request small = request_of(1, 1);
      small.deadline = now + std::chrono::seconds(1000);
      scheduler.add(RequestId{id}, small, now);
      const Batch batch = scheduler.plan(now);
      scheduler.commit(batch, std::vector<Picked>{{batch.slices[0].sequence->id, 1, true}});
      for (const Ended& e : scheduler.take_ended()) order.push_back(e.request.v);
    }
    const auto at = std::ranges::find(order, 0u);
    EXPECT_LE(at - order.begin(), 4) << policy.name;
  }
}

// A prompt of 6,000 tokens is being computed; short ones come by, and it goes on all the same.
TEST(Scheduler, AShortPromptDoesNotWaitForALongOne) {
  for (const double itl_target : {0.0, 0.05}) {
    KVPool pool(600);
    Scheduler scheduler(
        {.context = 8192, .max_sequences = 8, .max_step_tokens = 512, .itl_target = itl_target},
        pool);
    Request running = request_of(4, 200);
    running.prompt = distinct(90000, 4);
    scheduler.add(RequestId{1}, running);
    step(scheduler);
    Request large = request_of(1, 1);
    large.prompt = distinct(10000, 6000);
    scheduler.add(RequestId{2}, large);
    step(scheduler);
    Request little = request_of(1, 1);
    little.prompt = distinct(50000, 40);
    scheduler.add(RequestId{3}, little);
    const Batch batch = scheduler.plan(TimePoint{});
    std::map<uint32_t, int32_t> counts;
    for (const Slice& s : batch.slices) counts[s.sequence->request.v] = s.count;
    EXPECT_EQ(counts[3], 40);
    EXPECT_GT(counts[2], 0);
  }
}

// Caller 1 has had the machine for itself; caller 2 comes, and each has half from then on.
TEST(Scheduler, FairShareCountsFromWhenACallerComes) {
  KVPool pool(64);
  Scheduler scheduler(
      {.context = 64, .max_sequences = 1, .max_step_tokens = 64, .policy = Policy::kFairShare},
      pool);
  uint32_t id = 0;
  const auto ask = [&](uint64_t caller) {
    Request r = request_of(10, 1);
    r.caller = caller;
    scheduler.add(RequestId{++id * 2 + static_cast<uint32_t>(caller) - 1}, r);
  };
  for (int i = 0; i < 200; ++i) ask(1);
  for (int i = 0; i < 100; ++i) step(scheduler);
  scheduler.take_ended();
  for (int i = 0; i < 100; ++i) ask(2);
  for (int i = 0; i < 80; ++i) step(scheduler);
  int of_second = 0;
  for (const Ended& e : scheduler.take_ended()) of_second += e.request.v % 2 == 1 ? 1 : 0;
  EXPECT_GE(of_second, 30);
  EXPECT_LE(of_second, 42);
}

TEST(Scheduler, TheTargetForRunningSequencesHolds) {
  KVPool pool(600);
  Scheduler scheduler(
      {.context = 8192, .max_sequences = 8, .max_step_tokens = 512, .itl_target = 0.05}, pool);
  const auto truth = [](const Batch& batch) {  // 5 ms a step, 0.2 ms a token, 20 ns a pair
    StepWork work;
    for (const Slice& s : batch.slices) work += StepWork::of(s.first, s.count);
    return 0.005 + 0.0002 * static_cast<double>(work.n_tokens) +
           2e-8 * static_cast<double>(work.n_pairs);
  };
  const auto run = [&] {
    const Batch batch = scheduler.plan(TimePoint{});
    const double seconds = truth(batch);
    scheduler.observe(batch, seconds);
    std::vector<Picked> picked;
    for (const Slice& s : batch.slices) {
      if (s.n_logits > 0) picked.push_back({s.sequence->id, 1, false});
    }
    scheduler.commit(batch, picked);
    return seconds;
  };
  for (uint32_t i = 1; i <= 4; ++i) {
    Request r = request_of(1, 3000);
    r.prompt = distinct(static_cast<TokenId>(i * 1000), 100 + static_cast<int32_t>(i));
    scheduler.add(RequestId{i}, r);
    for (int k = 0; k < 30; ++k) run();
  }
  const double alone = run();
  Request large = request_of(1, 1);
  large.prompt = distinct(20000, 6000);
  scheduler.add(RequestId{9}, large);
  std::vector<double> steps;
  while (scheduler.take_ended().empty()) {
    steps.push_back(run());
    ASSERT_LT(steps.size(), 3000u);
  }
  // No step takes more than twice what one takes alone, but for those that teach the model.
  int hasty = 0;
  for (size_t i = 3; i < steps.size(); ++i) {
    EXPECT_LE(steps[i], 0.05 * 1.1);
    hasty += steps[i] > 2.2 * alone ? 1 : 0;
  }
  EXPECT_LE(hasty, 2);
  // And no slower than the bound allows: 16 tokens a step at least.
  EXPECT_LE(steps.size(), 6000u / 16 + 10);
}

// 4 ms, 0.5 ms a token, 0.1 us a position, 2 us for a hundred pairs.
double truth(const StepWork& work) {
  return 0.004 + 0.0005 * static_cast<double>(work.n_tokens) +
         1e-7 * static_cast<double>(work.n_positions) + 2e-8 * static_cast<double>(work.n_pairs);
}

StepWork decodes(int32_t n, int32_t depth) {
  StepWork work;
  for (int32_t i = 0; i < n; ++i) work += StepWork::of(depth, 1);
  return work;
}

StepWork step_like(int i) {
  StepWork work = decodes(8, 100 + 7 * (i % 50));
  if (i % 3 == 0) work += StepWork::of(17 * (i % 100), 100 + i % 60);
  return work;
}

TEST(StepModel, CountsTheWork) {
  const StepWork work = StepWork::of(10, 3);  // tokens 10, 11, 12 see 11, 12 and 13 positions
  EXPECT_EQ(work.n_tokens, 3);
  EXPECT_EQ(work.n_positions, 13);
  EXPECT_EQ(work.n_pairs, 36);
}

TEST(StepModel, LearnsAndKeepsATarget) {
  StepModel model;
  EXPECT_EQ(model.tokens_beside({}, 0, 0.01, 512), 512);
  for (int i = 0; i < 300; ++i) model.observe(step_like(i), truth(step_like(i)));
  EXPECT_NEAR(model.seconds(step_like(33)), truth(step_like(33)), 1e-4);
  const StepWork beside = decodes(8, 200);
  for (const int32_t first : {0, 1000}) {
    const int32_t n = model.tokens_beside(beside, first, 0.05, 512);
    StepWork work = beside;
    work += StepWork::of(first, n);
    EXPECT_NEAR(truth(work), 0.05, 0.001);
    EXPECT_GT(n, 10);
    EXPECT_LT(n, 100);
  }
  EXPECT_GT(model.tokens_beside(beside, 0, 0.05, 512),
            model.tokens_beside(beside, 1000, 0.05, 512));
  EXPECT_EQ(model.tokens_beside(beside, 0, 0.001, 512), 0);
  EXPECT_EQ(model.tokens_beside(beside, 0, 10, 512), 512);
  // The machine became half as fast.
  for (int i = 0; i < 300; ++i) model.observe(step_like(i), 2 * truth(step_like(i)));
  EXPECT_NEAR(model.seconds(step_like(33)), 2 * truth(step_like(33)), 0.05 * truth(step_like(33)));
}

TEST(StepModel, OneStallChangesLittle) {
  StepModel model;
  for (int i = 0; i < 300; ++i) model.observe(step_like(i), truth(step_like(i)));
  model.observe(step_like(300), 30);
  EXPECT_LT(model.seconds(decodes(8, 200)), 4 * truth(decodes(8, 200)));
  for (int i = 301; i < 340; ++i) model.observe(step_like(i), truth(step_like(i)));
  EXPECT_NEAR(model.seconds(step_like(33)), truth(step_like(33)), 0.1 * truth(step_like(33)));
}

}  // namespace
}  // namespace farthing
