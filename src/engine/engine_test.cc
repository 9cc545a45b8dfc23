#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "engine/engine_for_tests.h"
#include "engine/runner.h"

namespace farthing {
namespace {

using namespace testing;

// What the requests are charged for is what the engine was busy with, and no more than the time
// that went by; everything is counted once.
TEST(Engine, MetricsAddUp) {
  const TimePoint before = Clock::now();
  auto engine = start({.n_threads = 1, .context = 128, .max_sequences = 3});
  constexpr int kRequests = 5;
  std::vector<Listener> listeners(kRequests);
  for (int i = 0; i < kRequests; ++i) {
    Request request = request_of(20 + 9 * i, 4 + i, static_cast<uint32_t>(i));
    request.n = i == 2 ? 2 : 1;
    ASSERT_TRUE(engine->submit(std::move(request), listeners[i].sink()));
  }
  double prompt_busy = 0, completion_busy = 0;
  int64_t completion = 0, prompt = 0;
  for (Listener& listener : listeners) {
    const Heard heard = listener.wait();
    EXPECT_GT(heard.timings.prompt_busy_seconds, 0);
    EXPECT_GT(heard.timings.completion_busy_seconds, 0);
    EXPECT_GE(heard.timeline.n_prefill_steps, 1);
    EXPECT_GT(heard.timeline.longest_gap_seconds, 0);
    EXPECT_GE(heard.timings.total_seconds,
              heard.timings.queue_seconds + heard.timings.prefill_seconds);
    prompt_busy += heard.timings.prompt_busy_seconds;
    completion_busy += heard.timings.completion_busy_seconds;
    completion += heard.usage.completion_tokens;
    prompt += heard.usage.prompt_tokens;
  }
  const EngineMetrics m = engine->metrics();
  EXPECT_NEAR(m.prompt_busy_seconds, prompt_busy, 1e-9);
  EXPECT_NEAR(m.completion_busy_seconds, completion_busy, 1e-9);
  EXPECT_LE(prompt_busy + completion_busy, seconds_between(before, Clock::now()));
  EXPECT_EQ(m.requests_received, kRequests);
  EXPECT_EQ(m.requests_finished[static_cast<size_t>(FinishReason::kLength)], kRequests);
  EXPECT_EQ(m.sequences_running + m.sequences_waiting, 0);
  EXPECT_EQ(m.requests_running + m.requests_waiting, 0);
  EXPECT_EQ(m.backlog.n_sequences, 0);
  EXPECT_EQ(m.request_n.sum, kRequests + 1);
  EXPECT_EQ(m.inference_time.count(), kRequests);
  EXPECT_EQ(m.generated_tokens, completion);
  EXPECT_EQ(m.time_to_first_token.count(), kRequests);
  EXPECT_EQ(m.queue_time.count(), kRequests);
  EXPECT_EQ(m.request_latency.count(), kRequests);
  EXPECT_EQ(m.prefill_time.count(), kRequests);
  EXPECT_EQ(m.decode_time.count(), kRequests);
  EXPECT_EQ(m.request_prompt_tokens.sum, prompt);
  EXPECT_EQ(m.request_completion_tokens.sum, completion);
  EXPECT_EQ(m.inter_token_latency.count(), completion - kRequests - 1);  // one had two samples
  EXPECT_EQ(m.time_per_output_token.count(), kRequests + 1);
  const SchedulerCounts& s = m.scheduler;
  EXPECT_EQ(static_cast<double>(s.prompt_tokens_computed + completion - kRequests - 1),
            m.step_tokens.sum);
  EXPECT_GE(s.prompt_tokens_computed + s.prompt_tokens_cached, prompt);
  EXPECT_EQ(m.kv_blocks_leased, 0);
  EXPECT_EQ(m.step_time.count(), m.step_tokens.count());
  // Every matrix once a step at least, and twice its weights for every token.
  const ModelWork work(*toy().model, KVType::kF16);
  EXPECT_GT(m.work.bytes, static_cast<double>(m.step_tokens.count()) * work.of_weights(1, 0).bytes);
  EXPECT_GT(m.work.operations, m.step_tokens.sum * work.of_weights(1, 0).operations);
  EXPECT_GT(m.recent.per_second(Clock::now()).bytes, 0);
}

TEST(RecentWork, IsTheRateOfTheLastSeconds) {
  RecentWork recent;
  TimePoint now{std::chrono::hours(1)};
  const auto step = std::chrono::milliseconds(10);
  for (int i = 0; i < 10000; ++i) recent.add({.bytes = 3, .operations = 7}, now += step);
  EXPECT_NEAR(recent.per_second(now).bytes, 300, 0.3);  // a steady rate shows as it is
  EXPECT_NEAR(recent.per_second(now).operations, 700, 0.7);
  EXPECT_NEAR(recent.per_second(now + std::chrono::seconds(10)).bytes, 300 / M_E, 0.3);
  EXPECT_NEAR(recent.per_second(now + std::chrono::minutes(10)).bytes, 0, 1e-9);
}

// What requests are charged for that were cut short or lost their blocks counts as well.
TEST(Engine, BusyTimeOfCancelledAndPreemptedRequestsAddsUp) {
  EngineOptions options{.n_threads = 1, .context = 256, .max_sequences = 4};
  // One full context: four sequences of 160 tokens don't fit.
  options.kv_memory =
      KVStore::bytes_needed(toy().model->kv_shapes(options.kv_type), 256 / kKVBlockTokens);
  auto engine = start(options);
  constexpr int kRequests = 6;
  std::vector<Listener> listeners(kRequests);
  for (uint32_t i = 0; i < kRequests; ++i) {
    const bool cut_short = i == 1;
    ASSERT_TRUE(engine->submit(request_of(60, 100, i),
                               [&, cut_short, tell = listeners[i].sink()](Event event) {
                                 const auto* token = std::get_if<TokenEvent>(&event);
                                 if (token && cut_short) engine->cancel(token->request);
                                 tell(std::move(event));
                               }));
  }
  double busy = 0;
  int n_preempted = 0;
  for (Listener& listener : listeners) {
    const Heard heard = listener.wait();
    busy += heard.timings.prompt_busy_seconds + heard.timings.completion_busy_seconds;
    n_preempted += heard.timeline.n_preempted;
  }
  EXPECT_GT(n_preempted, 0);
  const EngineMetrics m = engine->metrics();
  EXPECT_EQ(m.requests_finished[static_cast<size_t>(FinishReason::kCancelled)], 1);
  EXPECT_NEAR(m.prompt_busy_seconds + m.completion_busy_seconds, busy, 1e-9);
}

// A counter that fell would look like a restart to whoever reads it.
TEST(Engine, IdleTimeNeverFallsAndIsTheRestOfAllTime) {
  auto engine = start(small());
  std::atomic<bool> done = false;
  std::thread reader([&] {
    double before = 0;
    while (!done) {
      const TimePoint asked = Clock::now();
      const double idle = engine->metrics().idle_seconds(asked);
      EXPECT_GE(idle, before);
      before = idle;
    }
  });
  for (uint32_t i = 0; i < 60; ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(100 * (i % 7)));
    run(*engine, request_of(3, 1 + static_cast<int32_t>(i % 5), i));
  }
  done = true;
  reader.join();
  while (engine->metrics().working) std::this_thread::yield();
  const EngineMetrics m = engine->metrics();
  const TimePoint now = Clock::now();
  EXPECT_NEAR(m.idle_seconds(now) + m.prompt_busy_seconds + m.completion_busy_seconds,
              seconds_between(m.began, now),
              1e-6);
}

std::unique_ptr<Model> draft_model(const char* name) {
  const std::string path = std::string(FARTHING_SOURCE_DIR "/tests/golden/model/") + name + ".gguf";
  auto loaded = load_draft_model(path, {}, toy());
  EXPECT_TRUE(loaded) << loaded.error().message;
  return *std::move(loaded);
}

// Every way to guess. A model that guesses for itself is always right where nothing is drawn.
struct DrafterCase {
  std::string name;
  Speculation speculate;
  int32_t draft_tokens = 0;
  const Model* model = nullptr;
  int32_t layers = 0;

  EngineOptions with(EngineOptions options) const {
    options.speculate = speculate;
    options.draft_tokens = draft_tokens;
    options.draft_model = model;
    options.draft_layers = layers;
    return options;
  }
};

std::vector<DrafterCase> drafter_cases() {
  static const std::unique_ptr<Model> same = draft_model("llama-gqa");
  static const std::unique_ptr<Model> other = draft_model("llama-plain");
  using enum Speculation;
  return {{"lookup 1", kLookup, 1},
          {"lookup 3", kLookup, 3},
          {"lookup 15", kLookup, 15},
          {"lookup, as many as pay", kLookup},
          {"suffix 2", kSuffix, 2},
          {"suffix 15", kSuffix, 15},
          {"suffix, as many as pay", kSuffix},
          {"one layer 4", kSelf, 4, nullptr, 1},
          {"two layers, as many as pay", kSelf, 0, nullptr, 2},
          {"all layers 3", kSelf, 3, nullptr, 3},
          {"another model 2", kDraft, 2, other.get()},
          {"the same model 7", kDraft, 7, same.get()},
          {"the same model, as many as pay", kDraft, 0, same.get()}};
}

// Drafts change no token, no log-probability and no text: greedy or sampled, with every rule that
// looks at what came before, alone and among neighbours, with blocks that were stored before;
// though many are right.
TEST(Engine, DraftsChangeNothing) {
  std::vector<std::pair<const char*, Request>> requests;
  const auto add = [&](const char* name, auto&& change) {
    // A text that repeats itself, so that there is something to look up.
    Request request = request_of(12, 90);
    const std::vector<TokenId> part = request.prompt;
    for (int i = 0; i < 3; ++i)
      request.prompt.insert(request.prompt.end(), part.begin(), part.end());
    change(request);
    requests.emplace_back(name, std::move(request));
  };
  add("greedy", [](Request&) {});
  add("one token", [](Request& r) { r.max_tokens = 1; });
  add("two tokens", [](Request& r) { r.max_tokens = 2; });
  add("to the end of the context", [](Request& r) { r.max_tokens = 1000; });
  add("sampled", [](Request& r) { r.sampling.temperature = 0.3f, r.sampling.seed = 5; });
  add("warm", [](Request& r) { r.sampling.temperature = 1.2f, r.sampling.top_k = 20; });
  add("penalties", [](Request& r) {
    r.sampling.frequency_penalty = 0.7f, r.sampling.presence_penalty = 0.4f;
    r.sampling.repetition_penalty = 1.2f;
  });
  add("least tokens", [](Request& r) { r.ignore_eos = false, r.min_tokens = 30; });
  add("stops", [](Request& r) { r.stop = {"e", "zz"}, r.include_stop = true, r.min_tokens = 9; });
  add("samples", [](Request& r) { r.n = 3, r.sampling.temperature = 0.5f; });
  add("no logprobs", [](Request& r) { r.sampling.logprobs = -1; });
  // Few tokens, so that it says again what it said.
  add("loops", [](Request& r) {
    r.sampling.temperature = 0.7f;
    for (TokenId token = 20; token < 23; ++token) r.sampling.logit_bias.push_back({token, 30.0f});
  });
  int64_t n_accepted = 0;
  const EngineOptions options{.n_threads = 2, .context = 256, .max_sequences = 5};
  auto plain = start(options);
  std::map<std::string, Heard> wanted;
  for (const auto& [name, request] : requests) wanted[name] = run(*plain, request);
  for (const DrafterCase& drafter : drafter_cases()) {
    for (const int neighbours : {0, 3}) {
      auto drafting = start(drafter.with(options));
      for (const auto& [request_name, request] : requests) {
        const Heard& want = wanted[request_name];
        const std::string name = drafter.name + ": " + request_name;
        std::vector<Listener> others(static_cast<size_t>(neighbours));
        for (uint32_t i = 0; i < others.size(); ++i)
          ASSERT_TRUE(drafting->submit(request_of(10 + 7 * static_cast<int32_t>(i), 40, i + 1),
                                       others[i].sink()));
        const Heard got = run(*drafting, request);
        EXPECT_EQ(got.tokens, want.tokens) << name;
        EXPECT_EQ(got.logprobs, want.logprobs) << name;
        EXPECT_EQ(got.text, want.text) << name;
        EXPECT_EQ(got.usage.completion_tokens, want.usage.completion_tokens) << name;
        const DraftTimings& d = got.timings.drafts;
        EXPECT_LE(d.accepted_tokens, d.drafted_tokens);
        EXPECT_EQ(d.tokens, got.usage.completion_tokens - request.n) << name;
        // A draft's last token may have ended the sample.
        EXPECT_LE(d.steps + d.accepted_tokens, d.tokens + request.n) << name;
        EXPECT_GE(d.steps + d.accepted_tokens, d.tokens - request.n) << name;
        EXPECT_GE(d.seconds, 0);
        int32_t drafted = 0, accepted = 0;
        for (size_t i = 0; i < d.drafted_at.size(); ++i) {
          drafted += d.drafted_at[i];
          accepted += d.accepted_at[i];
          EXPECT_LE(d.accepted_at[i], d.drafted_at[i]);
        }
        EXPECT_EQ(drafted, d.drafted_tokens) << name;
        EXPECT_EQ(accepted, d.accepted_tokens) << name;
        n_accepted += accepted;
        for (Listener& other : others) other.wait();
      }
      const EngineMetrics m = drafting->metrics();
      EXPECT_EQ(m.kv_blocks_leased, 0);
      EXPECT_LE(m.drafts.accepted_tokens, m.scheduler.accepted_tokens);
      EXPECT_EQ(m.drafts.drafted_tokens, m.scheduler.drafted_tokens);
      // A gap between any two tokens of a sample; one request had three samples.
      EXPECT_EQ(m.inter_token_latency.count() + m.time_to_first_token.count() + 2,
                m.generated_tokens);
    }
  }
  EXPECT_GT(n_accepted, 1000);
}

// Whatever happens to its keys and values: other sequences, stored prefixes, samples that share
// blocks, blocks taken away, prompts read in pieces. A wrong one would show in a wrong guess.
TEST(Engine, AModelThatGuessesForItselfIsAlwaysRight) {
  int n_preempted = 0;
  for (const DrafterCase& drafter : drafter_cases()) {
    if (drafter.name != "all layers 3" && drafter.name != "the same model 7") continue;
    for (const KVType type : {KVType::kF16, KVType::kInt8}) {
      EngineOptions options{.n_threads = 2, .context = 512, .max_sequences = 4, .chunk = 100};
      options.kv_type = type;
      const auto plain = start(options);
      int64_t block_bytes = KVStore::bytes_needed(toy().model->kv_shapes(type), 1);
      if (drafter.model) block_bytes += KVStore::bytes_needed(drafter.model->kv_shapes(type), 1);
      options.kv_memory = 18 * block_bytes;  // little more than a context
      const auto drafting = start(drafter.with(options));
      for (const int round : {0, 1}) {  // the second one finds what the first one stored
        std::vector<Request> requests;
        for (uint32_t i = 0; i < 6; ++i) {
          Request r = request_of(40 + 60 * static_cast<int32_t>(i), 120, i / 2);
          r.n = i == 1 ? 3 : 1;
          requests.push_back(r);
        }
        std::vector<Listener> listeners(requests.size());
        for (size_t i = 0; i < requests.size(); ++i)
          ASSERT_TRUE(drafting->submit(requests[i], listeners[i].sink()));
        int32_t drafted = 0;
        for (size_t i = 0; i < requests.size(); ++i) {
          const Heard got = listeners[i].wait();
          EXPECT_EQ(got.tokens, run(*plain, requests[i]).tokens);
          EXPECT_EQ(got.timings.drafts.accepted_tokens, got.timings.drafts.drafted_tokens)
              << drafter.name << " round " << round << " request " << i;
          drafted += got.timings.drafts.drafted_tokens;
          n_preempted += got.timeline.n_preempted;
        }
        EXPECT_GT(drafted, 250) << drafter.name << " round " << round;
      }
    }
  }
  EXPECT_GT(n_preempted, 0);
}

// What is drawn behind a draft follows the model's distribution: three of four tokens, counted over
// many seeds, against the probabilities that the model states. Pearson's chi-square.
class Distribution : public ::testing::TestWithParam<std::string> {};
TEST_P(Distribution, IsTheModels) {
  constexpr int kSeeds = 12000;
  // Nothing else is drawn: where guesses come from the text, four that it has; else the likeliest.
  constexpr TokenId kFirst = 20, kEnd = 24;
  const bool from_text = GetParam() == "lookup 3" || GetParam() == "suffix 15";
  Request base = request_of(1, 1);
  for (int i = 1; i < 50; ++i) base.prompt.push_back(kFirst + i * i / 3 % (kEnd - kFirst));
  base.sampling.temperature = 1;
  if (!from_text) base.sampling.top_k = kEnd - kFirst;
  for (TokenId token = kFirst; token < kEnd && from_text; ++token)
    base.sampling.logit_bias.emplace_back(token, 100.0f);
  const auto plain = start({.n_threads = 1, .context = 128, .max_sequences = 1});
  // The probabilities of the four behind the prompt and these, at a temperature.
  using Choices = std::vector<std::pair<TokenId, double>>;
  const auto choices_behind = [&](const std::vector<TokenId>& more, double temperature) {
    Request r = base;
    r.prompt.insert(r.prompt.end(), more.begin(), more.end());
    r.sampling.temperature = 0;
    r.sampling.logprobs = toy().model->spec.vocab_size;
    std::vector<TokenLogprob> top;
    std::atomic<bool> ended = false;
    EXPECT_TRUE(plain->submit(r, [&](Event event) {
      if (auto* token = std::get_if<TokenEvent>(&event)) top = std::move(token->top);
      ended = ended || std::holds_alternative<RequestEnd>(event);
    }));
    while (!ended) std::this_thread::yield();
    Choices choices;
    double sum = 0;
    for (const TokenLogprob& t : top) {
      if (from_text ? t.token < kFirst || t.token >= kEnd : choices.size() == kEnd - kFirst)
        continue;
      choices.emplace_back(t.token, std::exp(t.logprob / temperature));
      sum += choices.back().second;
    }
    for (auto& [token, probability] : choices) probability /= sum;
    return choices;
  };
  using Three = std::array<TokenId, 3>;
  const auto distribution = [&](double temperature) {
    std::map<Three, double> all;
    for (const auto& [a, of_a] : choices_behind({}, temperature)) {
      for (const auto& [b, of_b] : choices_behind({a}, temperature)) {
        for (const auto& [c, of_c] : choices_behind({a, b}, temperature))
          all[{a, b, c}] = of_a * of_b * of_c;
      }
    }
    return all;
  };
  const std::map<Three, double> right = distribution(1), wrong = distribution(1.25);
  ASSERT_EQ(right.size(), 64u);
  for (const DrafterCase& drafter : drafter_cases()) {
    if (drafter.name != GetParam()) continue;
    const auto drafting =
        start(drafter.with({.n_threads = 1, .context = 128, .max_sequences = 16}));
    std::map<Three, int> counts;
    std::mutex mutex;
    std::condition_variable changed;
    std::map<RequestId, std::vector<TokenId>> heard;
    int n_ended = 0;
    for (int seed = 0; seed < kSeeds; ++seed) {
      Request r = base;
      r.max_tokens = 5;
      r.sampling.seed = static_cast<uint64_t>(seed);
      r.sampling.logprobs = -1;
      ASSERT_TRUE(drafting->submit(r, [&](Event event) {
        const std::lock_guard lock(mutex);
        if (auto* token = std::get_if<TokenEvent>(&event)) {
          heard[token->request].push_back(token->token);
        } else if (auto* end = std::get_if<RequestEnd>(&event)) {
          const std::vector<TokenId>& tokens = heard[end->request];
          ++counts[{tokens[0], tokens[1], tokens[2]}];
          ++n_ended;
          changed.notify_all();
        }
      }));
      std::unique_lock lock(mutex);  // a hundred at a time: a long queue takes its time
      ASSERT_TRUE(
          changed.wait_for(lock, std::chrono::seconds(300), [&] { return n_ended > seed - 100; }));
    }
    {
      std::unique_lock lock(mutex);
      ASSERT_TRUE(
          changed.wait_for(lock, std::chrono::seconds(300), [&] { return n_ended == kSeeds; }));
    }
    // Rare ones count together, so that a cell has five at least.
    const auto chi_square = [&](const std::map<Three, double>& expected) {
      double sum = 0, rest = kSeeds, rest_expected = kSeeds;
      int n_cells = 0;
      for (const auto& [three, probability] : expected) {
        const double want = probability * kSeeds, got = counts[three];
        if (want < 5) continue;
        sum += (got - want) * (got - want) / want;
        rest -= got;
        rest_expected -= want;
        ++n_cells;
      }
      if (rest_expected >= 5)
        sum += (rest - rest_expected) * (rest - rest_expected) / rest_expected;
      // Wilson and Hilferty: how many standard deviations from the mean, about.
      const double k = n_cells;
      return (std::cbrt(sum / k) - (1 - 2 / (9 * k))) / std::sqrt(2 / (9 * k));
    };
    EXPECT_LT(chi_square(right), 4) << drafter.name;
    EXPECT_GT(chi_square(wrong), 8) << drafter.name;  // it can tell
    EXPECT_GT(drafting->metrics().scheduler.accepted_tokens, kSeeds / 20) << drafter.name;
  }
}
INSTANTIATE_TEST_SUITE_P(Engine,
                         Distribution,
                         ::testing::Values("lookup 3", "suffix 15", "all layers 3"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::ranges::replace(name, ' ', '_');
                           return name;
                         });

TEST(Engine, ADrafterThatCannotBeIsRefused) {
  const auto message = [](EngineOptions options) {
    const auto engine = Engine::start(toy(), options);
    return engine ? std::string() : engine.error().message;
  };
  EngineOptions options = small();
  options.speculate = Speculation::kDraft;
  EXPECT_THAT(message(options), ::testing::HasSubstr("--draft-model"));
  options.speculate = Speculation::kSelf;
  options.draft_layers = 4;
  EXPECT_THAT(message(options), ::testing::HasSubstr("--draft-layers 4"));
  options.speculate = Speculation::kLookup;
  EXPECT_THAT(message(options), ::testing::HasSubstr("--draft-layers"));
  const std::unique_ptr<Model> other = draft_model("llama-plain");
  options = small();
  options.draft_model = other.get();
  EXPECT_THAT(message(options), ::testing::HasSubstr("--speculate draft"));
  options.speculate = Speculation::kDraft;
  options.memory_limit = 1 << 20;
  EXPECT_THAT(message(options), ::testing::HasSubstr("MiB"));
  // Other vocabularies.
  for (const char* name : {"mistral", "gemma3", "none"}) {
    const std::string path =
        std::string(FARTHING_SOURCE_DIR "/tests/golden/model/") + name + ".gguf";
    const auto loaded = load_draft_model(path, {}, toy());
    ASSERT_FALSE(loaded) << name;
    EXPECT_EQ(loaded.error().kind, ErrorKind::kBadInput);
  }
}

TEST(Engine, WhatWasComputedForNobodyIsCounted) {
  auto engine = start(small());
  Listener listener;
  ASSERT_TRUE(engine->submit(request_of(20, 100), [&, tell = listener.sink()](Event event) {
    if (const auto* token = std::get_if<TokenEvent>(&event)) engine->cancel(token->request);
    tell(std::move(event));
  }));
  const Heard heard = listener.wait();
  EXPECT_EQ(heard.timeline.finish, FinishReason::kCancelled);
  const EngineMetrics m = engine->metrics();
  constexpr auto kCancelled = static_cast<size_t>(FinishReason::kCancelled);
  EXPECT_EQ(m.requests_finished[kCancelled], 1);
  EXPECT_EQ(m.wasted_tokens[kCancelled], 20 + heard.usage.completion_tokens - 1);
  EXPECT_NEAR(
      m.wasted_busy_seconds[kCancelled], m.prompt_busy_seconds + m.completion_busy_seconds, 1e-9);
}

TEST(Engine, SaysEverythingOnceAndInOrder) {
  auto engine = start(small());
  Request request = request_of(20, 10);
  request.n = 3;
  request.sampling.temperature = 1;
  Listener listener;
  ASSERT_TRUE(engine->submit(request, listener.sink(1)));
  const Heard heard = listener.wait();
  engine.reset();
  EXPECT_EQ(heard.n_request_ends, 1);
  EXPECT_FALSE(heard.spoke_after_end);
  EXPECT_EQ(heard.reasons, std::vector<FinishReason>(3, FinishReason::kLength));
  EXPECT_EQ(heard.usage.prompt_tokens, 20);
  EXPECT_EQ(heard.usage.completion_tokens, 30);
  EXPECT_EQ(heard.tokens.size(), 10u);
}

// The same request gives the same bits whatever the chunk, the threads and the company.
TEST(Engine, ResultsDoNotDependOnCompany) {
  const Request request = request_of(75, 24);
  auto reference_engine = start(small());
  const Heard reference = run(*reference_engine, request);
  ASSERT_EQ(reference.tokens.size(), 24u);
  ASSERT_EQ(reference.logprobs.size(), 24u * 4);

  struct Case {
    const char* name;
    EngineOptions options;
    int neighbours;
  };
  std::vector<Case> cases;
  for (int32_t chunk : {1, 7, 64}) {
    EngineOptions o = small();
    o.chunk = chunk;
    cases.push_back({"chunk", o, 0});
  }
  EngineOptions two_threads = small();
  two_threads.n_threads = 2;
  cases.push_back({"two threads", two_threads, 0});
  EngineOptions crowd = two_threads;
  crowd.max_sequences = 4;
  crowd.chunk = 16;
  cases.push_back({"beside three others", crowd, 3});
  EngineOptions forgetful = small();
  forgetful.kv_cache = false;
  cases.push_back({"no KV cache", forgetful, 0});

  for (const Case& c : cases) {
    auto engine = start(c.options);
    std::vector<Listener> others(static_cast<size_t>(c.neighbours));
    for (uint32_t i = 0; i < others.size(); ++i) {
      ASSERT_TRUE(engine->submit(request_of(10 + 30 * static_cast<int32_t>(i), 40, i + 1),
                                 others[i].sink()));
    }
    const Heard heard = run(*engine, request);
    EXPECT_EQ(heard.tokens, reference.tokens) << c.name;
    EXPECT_EQ(heard.logprobs, reference.logprobs) << c.name;
    EXPECT_EQ(heard.text, reference.text) << c.name;
    for (Listener& other : others) other.wait();
  }
}

// Whoever asks for log-probabilities gets all logits, others only the best: the same tokens, also
// in one batch.
TEST(Engine, TheBestLogitsGiveTheSameTokens) {
  EngineOptions options = small();
  options.n_threads = 3;
  for (const int32_t max_sequences : {1, 4}) {
    options.max_sequences = max_sequences;
    auto engine = start(options);
    for (const int32_t top_k : {1, 40}) {
      Request request = request_of(30, 16);
      request.sampling.top_k = top_k;
      request.sampling.temperature = top_k == 1 ? 0.0f : 1.0f;
      request.sampling.seed = 5;
      const Heard whole = run(*engine, request);
      ASSERT_EQ(whole.tokens.size(), 16u);
      ASSERT_FALSE(whole.logprobs.empty());
      for (const bool held_off : {false, true}) {
        if (held_off) {
          request.stop_tokens = {whole.tokens[4]};
          request.min_tokens = 12;
        }
        request.sampling.logprobs = 3;
        const Heard reference = run(*engine, request);
        request.sampling.logprobs = -1;
        Listener with_logprobs, without;
        Request other = request_of(10, 40, 1);
        ASSERT_TRUE(engine->submit(other, with_logprobs.sink()));
        other.sampling.logprobs = -1;
        ASSERT_TRUE(engine->submit(other, without.sink()));
        for (const char* company : {"beside others", "alone"}) {
          const Heard heard = run(*engine, request);
          EXPECT_TRUE(heard.logprobs.empty());
          EXPECT_EQ(heard.tokens, reference.tokens) << top_k << ' ' << held_off << ' ' << company;
          EXPECT_EQ(with_logprobs.wait().tokens, without.wait().tokens);
        }
      }
    }
  }
}

TEST(Engine, ProgressTellsOfWorkAndSteps) {
  auto engine = start(small());
  EXPECT_FALSE(engine->progress().working);
  EXPECT_FALSE(engine->progress().last_step);
  const TimePoint before = Clock::now();
  Listener listener;
  Progress during;
  std::atomic<bool> seen = false;
  const Engine::Sink heard = listener.sink();
  ASSERT_TRUE(engine->submit(request_of(10, 5), [&](Event event) {
    if (!seen.exchange(true)) during = engine->progress();
    heard(std::move(event));
  }));
  listener.wait();
  EXPECT_TRUE(during.working);
  EXPECT_FALSE(during.last_step);  // the first token is said before its step has ended
  EXPECT_GE(during.work_came, before);
  const Progress after = engine->progress();
  EXPECT_FALSE(after.working);
  ASSERT_TRUE(after.last_step);
  EXPECT_GT(*after.last_step, during.work_came);
  EXPECT_LE(*after.last_step, Clock::now());
}

TEST(Engine, NaiveAttentionPicksTheSameTokens) {
  auto flash = start(small());
  EngineOptions o = small();
  o.attention = AttentionMode::kNaive;
  o.n_threads = 2;
  auto naive = start(o);
  EXPECT_EQ(run(*naive, request_of(70, 20)).tokens, run(*flash, request_of(70, 20)).tokens);
}

TEST(Engine, SeedsAndSamples) {
  auto engine = start(small());
  Request request = request_of(9, 20);
  request.sampling.temperature = 1;
  request.sampling.seed = 5;
  const Heard a = run(*engine, request);
  EXPECT_EQ(run(*engine, request).tokens, a.tokens);
  request.sampling.seed = 6;
  EXPECT_NE(run(*engine, request).tokens, a.tokens);
}

TEST(Engine, StopStringIsNotLeaked) {
  auto engine = start(small());
  const Request request = request_of(30, 40);
  const Heard whole = run(*engine, request);
  ASSERT_GT(whole.text.size(), 12u);
  for (size_t at = 1; at + 4 < whole.text.size(); at += 5) {
    Request stopped = request;
    stopped.stop = {whole.text.substr(at, 4)};
    const Heard heard = run(*engine, stopped);
    EXPECT_EQ(heard.text, whole.text.substr(0, whole.text.find(stopped.stop[0])));
    EXPECT_EQ(heard.reasons, std::vector{FinishReason::kStop});
    stopped.include_stop = true;
    EXPECT_EQ(run(*engine, stopped).text, heard.text + stopped.stop[0]);
  }
}

TEST(Engine, StopTokensEndAndMinTokensHoldThemOff) {
  auto engine = start(small());
  Request request = request_of(30, 12);
  const Heard whole = run(*engine, request);
  request.stop_tokens = {whole.tokens[4]};
  const size_t first = static_cast<size_t>(
      std::find(whole.tokens.begin(), whole.tokens.end(), whole.tokens[4]) - whole.tokens.begin());
  const Heard stopped = run(*engine, request);
  EXPECT_EQ(stopped.tokens.size(), first + 1);
  EXPECT_EQ(stopped.reasons, std::vector{FinishReason::kStop});
  request.min_tokens = 12;
  const Heard held_off = run(*engine, request);
  EXPECT_EQ(held_off.tokens.size(), 12u);
  EXPECT_THAT(held_off.tokens, ::testing::Not(::testing::Contains(whole.tokens[4])));

  // Stop strings too: the text before min_tokens goes out whatever it spells.
  request.stop_tokens.clear();
  request.min_tokens = 0;
  request.stop = {whole.text.substr(0, 1)};
  EXPECT_EQ(run(*engine, request).tokens.size(), 1u);
  request.min_tokens = 6;
  const Heard later = run(*engine, request);
  EXPECT_GE(later.tokens.size(), 6u);
  EXPECT_EQ(later.text.substr(0, 1), whole.text.substr(0, 1));
}

TEST(Engine, AKVPoolTooSmallForOneContextIsRefused) {
  EngineOptions options = small();
  options.kv_memory = 1;
  const auto engine = Engine::start(toy(), options);
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().kind, ErrorKind::kNoResource);
  EXPECT_THAT(engine.error().message, ::testing::HasSubstr("--kv-memory"));
}

TEST(Engine, CancelAndDeadlineEndAtOnceInEveryPhase) {
  EngineOptions o = small();
  o.chunk = 1;
  auto engine = start(o);
  Listener running, queued, late;
  // The ids are 1 and 2: the sink cancels both from the engine's own thread, at the second token.
  const RequestId first{1}, second{2};
  int n_tokens = 0;
  std::atomic<bool> all_there = false;
  const auto tell = running.sink();
  ASSERT_EQ(*engine->submit(request_of(20, 100),
                            [&](Event event) {
                              if (std::holds_alternative<TokenEvent>(event) && ++n_tokens == 2) {
                                while (!all_there) std::this_thread::yield();
                                engine->cancel(second);
                                engine->cancel(first);
                              }
                              tell(std::move(event));
                            }),
            first);
  ASSERT_EQ(*engine->submit(request_of(20, 100), queued.sink()), second);
  Request expired = request_of(20, 100);
  expired.deadline = Clock::now() - std::chrono::seconds(1);
  ASSERT_TRUE(engine->submit(expired, late.sink()));
  all_there = true;
  EXPECT_EQ(queued.wait().reasons, std::vector{FinishReason::kCancelled});
  EXPECT_EQ(queued.wait().tokens.size(), 0u);
  const Heard heard = running.wait();
  EXPECT_EQ(heard.reasons, std::vector{FinishReason::kCancelled});
  EXPECT_EQ(late.wait().reasons, std::vector{FinishReason::kDeadline});
  engine->cancel(first);  // ended already: nothing happens
  EXPECT_EQ(run(*engine, request_of(5, 3)).tokens.size(), 3u);
}

TEST(Engine, StoppingTheEngineEndsWhatRuns) {
  Listener listener;
  auto engine = start(small());
  ASSERT_TRUE(engine->submit(request_of(20, 100), listener.sink()));
  engine.reset();
  EXPECT_EQ(listener.wait().n_request_ends, 1);
}

TEST(Engine, RefusesWhatCannotRun) {
  auto engine = start(small());
  auto nothing = [](Event) {};
  const auto message = [&](Request r) {
    auto id = engine->submit(std::move(r), nothing);
    return id ? std::string() : id.error().message;
  };
  EXPECT_THAT(message(request_of(0, 4)), ::testing::HasSubstr("empty"));
  EXPECT_THAT(message(request_of(128, 4)), ::testing::HasSubstr("128 tokens"));
  Request outside = request_of(3, 4);
  outside.prompt[1] = 1 << 20;
  EXPECT_THAT(message(outside), ::testing::HasSubstr("outside the vocabulary"));
  outside = request_of(3, 4);
  outside.prompt[1] = -1;
  EXPECT_THAT(message(outside), ::testing::HasSubstr("outside the vocabulary"));
  Request bias = request_of(3, 4);
  bias.sampling.logit_bias = {{1 << 20, 1.0f}};
  EXPECT_THAT(message(bias), ::testing::HasSubstr("logit_bias"));
  Request scored = request_of(3, 4);
  scored.score_prompt = true;
  EXPECT_THAT(message(scored), ::testing::HasSubstr("scored"));  // small() says no
}

TEST(Engine, PromptOnlyEndsWithoutTokens) {
  auto engine = start(small());
  for (const int32_t n : {1, 10, 40}) {
    Request request = request_of(n, 0, static_cast<uint32_t>(n));
    request.n = 2;
    const Heard heard = run(*engine, request);
    EXPECT_EQ(heard.tokens.size(), 0u);
    EXPECT_EQ(heard.reasons, (std::vector{FinishReason::kLength, FinishReason::kLength}));
    EXPECT_EQ(heard.usage.completion_tokens, 0);
    EXPECT_GE(heard.timeline.n_prefill_steps, 1);
    EXPECT_GT(heard.timings.prompt_busy_seconds, 0);
    // It is there for who comes next.
    EXPECT_EQ(run(*engine, request_of(n, 1, static_cast<uint32_t>(n))).usage.cached_tokens, n - 1);
  }
  EngineOptions scoring = small();
  scoring.score_prompts = true;
  engine = start(scoring);
  for (const int32_t n_prompt : {1, 2, 100}) {
    Request request = request_of(n_prompt, 0);
    request.score_prompt = true;
    const Heard scored = run(*engine, request);
    EXPECT_EQ(scored.scored.size(), static_cast<size_t>(n_prompt - 1));
    EXPECT_TRUE(scored.tokens.empty());
    EXPECT_EQ(scored.reasons, std::vector{FinishReason::kLength});
  }
}

TEST(Engine, TheContextIsTheEnd) {
  auto engine = start(small());
  const Heard heard = run(*engine, request_of(120, 100));
  EXPECT_EQ(heard.tokens.size(), 8u);
  EXPECT_EQ(heard.reasons, std::vector{FinishReason::kLength});
}

TEST(Engine, MemoryThatIsNotThereIsRefusedWithTheArithmetic) {
  EngineOptions o = small();
  o.memory_limit = 1 << 16;
  auto engine = Engine::start(toy(), o);
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().kind, ErrorKind::kNoResource);
  EXPECT_THAT(engine.error().message, ::testing::HasSubstr("KV cache"));
  // The limit is the process's: weights, tokenizer and program are in it.
  const auto fits = start(small());
  o.memory_limit = fits->kv_bytes() + fits->workspace_bytes() + (64 << 10);
  engine = Engine::start(toy(), o);
  ASSERT_FALSE(engine);
  EXPECT_THAT(engine.error().message, ::testing::HasSubstr("weights"));
  constexpr int64_t kRest = 64 << 20;  // what the process takes meanwhile
  o.memory_limit += memory_taken(*toy().model) + kRest;
  EXPECT_TRUE(Engine::start(toy(), o));
  o = small();
  o.context = 1 << 20;
  EXPECT_EQ(Engine::start(toy(), o).error().kind, ErrorKind::kUsage);
}

TEST(Engine, EveryKVTypeAndWeightModeRuns) {
  for (KVType type : kKVTypes) {
    EngineOptions o = small();
    o.kv_type = {type, type == KVType::kInt8 ? KVType::kInt4 : type};
    auto engine = start(o);
    EXPECT_EQ(run(*engine, request_of(40, 4)).tokens.size(), 4u);
  }
  for (WeightMode mode : {WeightMode::kF32, WeightMode::kInt8}) {
    auto loaded =
        load_model(FARTHING_SOURCE_DIR "/tests/golden/model/llama-gqa.gguf", {.weights = mode});
    ASSERT_TRUE(loaded);
    auto engine = Engine::start(**loaded, small());
    ASSERT_TRUE(engine);
    EXPECT_EQ(run(**engine, request_of(40, 4)).tokens.size(), 4u);
  }
}

}  // namespace
}  // namespace farthing
