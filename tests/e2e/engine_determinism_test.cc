// The same request gives the same bytes: whatever the chunk, the threads, the company, with or
// without the KV cache. Through the whole engine, on toys and on a real model.
#include <gtest/gtest.h>

#include <bit>
#include <condition_variable>
#include <filesystem>
#include <mutex>

#include "e2e/real_models.h"
#include "engine/engine.h"

namespace farthing {
namespace {

// What a request produced, in order; equal only if every bit is.
struct Output {
  std::vector<TokenId> tokens;
  std::vector<uint32_t> logprob_bits;
  std::string text;
  bool operator==(const Output&) const = default;
};

void PrintTo(const Output& output, std::ostream* out) {
  for (TokenId token : output.tokens) *out << token << ' ';
  *out << '"' << output.text << '"';
}

// Collects the events of one request; done at its RequestEnd.
class Collector {
 public:
  explicit Collector(int32_t n) : samples_(static_cast<size_t>(n)) {}

  Engine::Sink sink() {
    return [this](Event event) {
      std::lock_guard lock(mutex_);
      if (auto* token = std::get_if<TokenEvent>(&event)) {
        Output& out = samples_[token->sample];
        out.tokens.push_back(token->token);
        out.text += token->text;
        if (token->logprob) add(out, *token->logprob);
        for (const TokenLogprob& top : token->top) add(out, top);
      } else if (auto* end = std::get_if<SampleEnd>(&event)) {
        samples_[end->sample].text += end->text;
      } else {
        usage_ = std::get<RequestEnd>(event).usage;
        done_ = true;
        changed_.notify_all();
      }
    };
  }
  std::vector<Output> wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_; });
    return samples_;
  }
  const Usage& usage() const { return usage_; }  // once it was waited for

 private:
  static void add(Output& out, const TokenLogprob& logprob) {
    out.logprob_bits.push_back(static_cast<uint32_t>(logprob.token));
    out.logprob_bits.push_back(std::bit_cast<uint32_t>(logprob.logprob));
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Output> samples_;
  Usage usage_;
  bool done_ = false;
};

std::vector<TokenId> prompt_of(const LoadedModel& model, int32_t n, uint32_t seed) {
  std::vector<TokenId> prompt;
  const auto vocab = static_cast<uint32_t>(model.tokenizer.vocab_size());
  uint32_t state = seed;
  for (int32_t i = 0; i < n; ++i) {
    state = state * 1664525U + 1013904223U;  // Numerical Recipes' generator
    prompt.push_back(static_cast<TokenId>((state >> 8) % vocab));
  }
  return prompt;
}

Request request_of(std::vector<TokenId> prompt, float temperature, int32_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = temperature;
  request.sampling.top_p = 0.95F;
  request.sampling.seed = 42;
  request.sampling.logprobs = 5;
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  return request;
}

struct Company {
  int32_t before = 0;  // other requests submitted before ours
  int32_t after = 0;
};

class EngineDeterminism : public ::testing::TestWithParam<std::string> {
 protected:
  static constexpr int32_t kPrompt = 70;
  static constexpr int32_t kNew = 24;

  void SetUp() override {
    auto loaded = load_model(GetParam(), {});
    ASSERT_TRUE(loaded) << loaded.error().message;
    model_ = *std::move(loaded);
    prompt_ = prompt_of(*model_, kPrompt, 1);
  }

  static EngineOptions plain() {
    EngineOptions options;
    options.n_threads = 1;
    options.context = 128;
    options.chunk = 128;
    return options;
  }

  std::vector<Output> run(const EngineOptions& options, const Request& ours, Company company = {}) {
    auto engine = Engine::start(*model_, options);
    if (!engine) {
      ADD_FAILURE() << engine.error().message;
      return {};
    }
    std::vector<std::unique_ptr<Collector>> others;
    auto submit_others = [&](int32_t n) {
      for (int32_t i = 0; i < n; ++i) {
        others.push_back(std::make_unique<Collector>(1));
        const auto seed = static_cast<uint32_t>(10 + others.size());
        const auto length = static_cast<int32_t>(20 * others.size());
        const Request other = request_of(prompt_of(*model_, length, seed), 1.0F, 40);
        EXPECT_TRUE((*engine)->submit(other, others.back()->sink()));
      }
    };
    Collector collector(ours.n);
    submit_others(company.before);
    EXPECT_TRUE((*engine)->submit(ours, collector.sink()));
    submit_others(company.after);
    for (auto& other : others) other->wait();
    return collector.wait();
  }

  std::unique_ptr<LoadedModel> model_;
  std::vector<TokenId> prompt_;
};

TEST_P(EngineDeterminism, SameRequestSameBytes) {
  // The real model is slow: there only what is sampled, which needs every bit of the logits.
  const bool is_toy = model_->n_parameters < 2'000'000;
  for (float temperature : is_toy ? std::vector{0.0F, 0.8F} : std::vector{0.8F}) {
    const Request ours = request_of(prompt_, temperature, kNew);
    const std::vector<Output> expected = run(plain(), ours);
    ASSERT_EQ(expected.size(), 1U);
    ASSERT_EQ(expected[0].tokens.size(), static_cast<size_t>(kNew));
    ASSERT_GE(expected[0].logprob_bits.size(), static_cast<size_t>(2 * 5 * kNew));

    for (int32_t chunk : {1, 7, 64}) {
      EngineOptions options = plain();
      options.chunk = chunk;
      options.n_threads = 2;
      EXPECT_EQ(run(options, ours), expected) << "chunk " << chunk;
    }
    EngineOptions busy = plain();
    busy.n_threads = 2;
    busy.max_sequences = 4;
    busy.chunk = 48;  // steps hold parts of several prompts
    EXPECT_EQ(run(busy, ours, {.before = 3}), expected) << "after three others";
    EXPECT_EQ(run(busy, ours, {.before = 1, .after = 2}), expected) << "between others";
    busy.max_sequences = 2;
    EXPECT_EQ(run(busy, ours, {.before = 3}), expected) << "behind a queue";

    EngineOptions uncached = plain();
    uncached.kv_cache = false;
    EXPECT_EQ(run(uncached, ours), expected) << "--kv-cache off";
    EngineOptions off = busy;
    off.prefix_cache = false;
    EXPECT_EQ(run(off, ours, {.before = 2}), expected) << "--prefix-cache off";
    EngineOptions contiguous = busy;
    contiguous.paged = false;
    EXPECT_EQ(run(contiguous, ours, {.before = 2}), expected) << "--kv-layout contiguous";
    for (Batching batching : {Batching::kStatic, Batching::kOff}) {
      EngineOptions other = busy;
      other.batching = batching;
      EXPECT_EQ(run(other, ours, {.before = 2}), expected) << "--batching";
    }
    EngineOptions paced = busy;
    paced.max_sequences = 4;
    paced.itl_target = 1e-6;
    EXPECT_EQ(run(paced, ours, {.before = 3}), expected) << "--itl-target";
  }
}

TEST_P(EngineDeterminism, AWarmPrefixChangesNoByte) {
  const Request ours = request_of(prompt_, 0.8F, kNew);
  const std::vector<Output> expected = run(plain(), ours);
  EngineOptions options = plain();
  options.n_threads = 2;
  options.max_sequences = 2;
  auto engine = Engine::start(*model_, options);
  ASSERT_TRUE(engine);
  const auto ask = [&](const Request& request) {
    Collector collector(request.n);
    EXPECT_TRUE((*engine)->submit(request, collector.sink()));
    std::vector<Output> output = collector.wait();
    return std::pair(std::move(output), collector.usage());
  };
  // Leaves a prefix that ends within a block.
  Request neighbour = request_of({prompt_.begin(), prompt_.begin() + 50}, 1.0F, 5);
  ask(neighbour);
  const auto [first, first_usage] = ask(ours);
  EXPECT_EQ(first, expected);
  EXPECT_EQ(first_usage.cached_tokens, 50);
  const auto [second, second_usage] = ask(ours);
  EXPECT_EQ(second, expected);
  EXPECT_EQ(second_usage.cached_tokens, kPrompt - 1);
  Request salted = ours;
  salted.salt = {1, 0};
  const auto [third, third_usage] = ask(salted);
  EXPECT_EQ(third, expected);
  EXPECT_EQ(third_usage.cached_tokens, 0);
  EXPECT_EQ(third_usage.cache_miss, CacheMiss::kNoEntry);
}

// Requests that run at once and begin alike: their common past is computed for all together.
TEST_P(EngineDeterminism, ASharedPastChangesNoByte) {
  const bool is_long = model_->context_length() >= 1024;
  EngineOptions options = plain();
  options.context = is_long ? 640 : 288;
  const int32_t n_shared = is_long ? 560 : 260;
  const std::vector<TokenId> shared = prompt_of(*model_, n_shared, 3);
  std::vector<Request> requests;
  for (int32_t i = 0; i < 5; ++i) {
    std::vector<TokenId> prompt = shared;
    const auto own = prompt_of(*model_, 1 + 2 * i, static_cast<uint32_t>(50 + i));
    prompt.insert(prompt.end(), own.begin(), own.end());
    requests.push_back(request_of(std::move(prompt), 0.8F, 14));
  }
  requests[1].n = 2;
  std::vector<std::vector<Output>> expected;
  for (const Request& request : requests) expected.push_back(run(options, request));
  options.n_threads = 2;
  options.max_sequences = 6;
  for (bool prefix_cache : {true, false}) {
    options.prefix_cache = prefix_cache;
    auto engine = Engine::start(*model_, options);
    ASSERT_TRUE(engine);
    std::vector<std::unique_ptr<Collector>> collectors;
    for (const Request& request : requests) {
      collectors.push_back(std::make_unique<Collector>(request.n));
      EXPECT_TRUE((*engine)->submit(request, collectors.back()->sink()));
    }
    for (size_t i = 0; i < requests.size(); ++i)
      EXPECT_EQ(collectors[i]->wait(), expected[i])
          << "request " << i << ", cache " << prefix_cache;
  }
}

TEST_P(EngineDeterminism, PreemptionChangesNoByte) {
  const Request ours = request_of(prompt_, 0.8F, 60);
  EngineOptions options = plain();
  options.context = 288;
  const std::vector<Output> expected = run(options, ours);
  options.max_sequences = 4;
  options.kv_share = 1e-9;  // the least: one context, which has to do for four
  options.n_threads = 2;
  auto engine = Engine::start(*model_, options);
  ASSERT_TRUE(engine);
  EngineOptions alone = plain();
  alone.context = 288;
  std::vector<Request> requests;
  std::vector<std::vector<Output>> expected_others;
  for (uint32_t i = 0; i < 3; ++i) {
    requests.push_back(request_of(prompt_of(*model_, 20, 7 + i), 1.0F, 200));
    expected_others.push_back(run(alone, requests.back()));
  }
  std::vector<std::unique_ptr<Collector>> others;
  for (const Request& other : requests) {
    others.push_back(std::make_unique<Collector>(1));
    ASSERT_TRUE((*engine)->submit(other, others.back()->sink()));
  }
  Collector collector(1);
  ASSERT_TRUE((*engine)->submit(ours, collector.sink()));
  EXPECT_EQ(collector.wait(), expected);
  for (size_t i = 0; i < others.size(); ++i) EXPECT_EQ(others[i]->wait(), expected_others[i]);
  EXPECT_GE((*engine)->metrics().scheduler.preemptions, 1);
}

TEST_P(EngineDeterminism, FirstSampleOfManyIsTheOnlySample) {
  Request ours = request_of(prompt_, 1.0F, kNew);
  const std::vector<Output> expected = run(plain(), ours);
  ours.n = 3;
  EngineOptions options = plain();
  options.max_sequences = 4;
  const std::vector<Output> all = run(options, ours);
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0], expected[0]);
  options.prefix_cache = false;  // each with K and V of its own
  options.max_sequences = 1;
  EXPECT_EQ(run(options, ours), all);
  EXPECT_NE(all[1].tokens, all[0].tokens);
  EXPECT_NE(all[2].tokens, all[1].tokens);
}

TEST_P(EngineDeterminism, AnotherSeedIsAnotherText) {
  Request ours = request_of(prompt_, 1.0F, kNew);
  const std::vector<Output> expected = run(plain(), ours);
  ours.sampling.seed = 43;
  EXPECT_NE(run(plain(), ours), expected);
}

// On float32 weights: int8 activations turn a difference in the last bit into another rounding.
TEST_P(EngineDeterminism, NaiveAttentionChoosesTheSameTokens) {
  auto loaded = load_model(GetParam(), {.weights = WeightMode::kF32});
  ASSERT_TRUE(loaded) << loaded.error().message;
  model_ = *std::move(loaded);
  const Request ours = request_of(prompt_, 0.0F, kNew);
  EngineOptions options = plain();
  options.kv_type = KVType::kF32;
  const std::vector<Output> flash = run(options, ours);
  options.attention = AttentionMode::kNaive;
  options.n_threads = 2;
  const std::vector<Output> naive = run(options, ours);
  ASSERT_EQ(flash.size(), 1U);
  EXPECT_EQ(flash[0].tokens, naive[0].tokens);
}

std::vector<std::string> model_paths() {
  std::vector<std::string> paths;
  for (const char* toy :
       {"llama-gqa", "llama-types", "mistral", "qwen2", "qwen3", "gemma2", "gemma3"}) {
    paths.push_back(fmt::format("{}/tests/golden/model/{}.gguf", FARTHING_SOURCE_DIR, toy));
  }
  paths.push_back(testing::real_model("SmolLM2-135M-Instruct.Q4_1.gguf"));
  return paths;
}

INSTANTIATE_TEST_SUITE_P(Models,
                         EngineDeterminism,
                         ::testing::ValuesIn(model_paths()),
                         [](const auto& row) {
                           std::string name = std::filesystem::path(row.param).stem().string();
                           for (char& c : name) {
                             if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace farthing
