// An engine over a toy model, requests of it, and somebody who hears all that is said of one.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"

namespace farthing::testing {

inline const LoadedModel& toy() {
  static const std::unique_ptr<LoadedModel> model = [] {
    auto loaded = load_model(FARTHING_SOURCE_DIR "/tests/golden/model/llama-gqa.gguf", {});
    if (!loaded) ADD_FAILURE() << loaded.error().message;
    return *std::move(loaded);
  }();
  return *model;
}

inline std::unique_ptr<Engine> start(const EngineOptions& options) {
  auto engine = Engine::start(toy(), options);
  EXPECT_TRUE(engine) << engine.error().message;
  return *std::move(engine);
}

// Everything that was said about one request.
struct Heard {
  std::vector<TokenId> tokens;
  std::vector<float> logprobs;
  std::vector<TokenEvent> scored;  // of the prompt
  std::string text;
  std::vector<FinishReason> reasons;
  int n_request_ends = 0;
  bool spoke_after_end = false;
  Usage usage;
  Timings timings;
  Timeline timeline;
};

class Listener {
 public:
  Engine::Sink sink(uint32_t sample = 0) {
    return [this, sample](Event event) {
      std::lock_guard lock(mutex_);
      heard_.spoke_after_end |= heard_.n_request_ends > 0;
      if (auto* token = std::get_if<TokenEvent>(&event)) {
        if (token->of_prompt) {
          heard_.scored.push_back(std::move(*token));
        } else if (token->sample == sample) {
          heard_.tokens.push_back(token->token);
          heard_.text += token->text;
          if (token->logprob) heard_.logprobs.push_back(token->logprob->logprob);
          for (const TokenLogprob& top : token->top) heard_.logprobs.push_back(top.logprob);
        }
      } else if (auto* end = std::get_if<SampleEnd>(&event)) {
        if (end->sample == sample) heard_.text += end->text;
        heard_.reasons.push_back(end->reason);
      } else {
        const auto& last = std::get<RequestEnd>(event);
        heard_.usage = last.usage;
        heard_.timings = last.timings;
        heard_.timeline = last.timeline;
        ++heard_.n_request_ends;
      }
      changed_.notify_all();
    };
  }
  Heard wait() {
    std::unique_lock lock(mutex_);
    const bool ended = changed_.wait_for(
        lock, std::chrono::seconds(60), [&] { return heard_.n_request_ends > 0; });
    EXPECT_TRUE(ended) << "no RequestEnd";
    return heard_;
  }
  void wait_for_tokens(size_t n) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(
        lock, std::chrono::seconds(60), [&] { return heard_.tokens.size() >= n; }));
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Heard heard_;
};

inline Request request_of(int32_t n_prompt, int32_t max_tokens, uint32_t salt = 0) {
  Request r;
  const int32_t vocab = toy().model->spec.vocab_size;
  for (int32_t i = 0; i < n_prompt; ++i) {
    r.prompt.push_back(
        static_cast<TokenId>((i * 37 + 11 + salt * 101) % static_cast<uint32_t>(vocab)));
  }
  r.max_tokens = max_tokens;
  r.ignore_eos = true;
  r.sampling.temperature = 0;
  r.sampling.logprobs = 3;
  return r;
}

inline Heard run(Engine& engine, Request request) {
  Listener listener;
  auto id = engine.submit(std::move(request), listener.sink());
  EXPECT_TRUE(id) << id.error().message;
  return listener.wait();
}

inline EngineOptions small() {
  return {.n_threads = 1, .context = 128, .chunk = 512};
}

}  // namespace farthing::testing
