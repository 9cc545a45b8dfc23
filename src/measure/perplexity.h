// Perplexity of a model on a text: exp of the mean negative log-likelihood of the scored tokens
// (measure/windows.h says which).
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/result.h"
#include "engine/runner.h"
#include "measure/windows.h"
#include "model/model.h"

namespace farthing {

struct Perplexity {
  double value = 0;
  double standard_error = 0;  // of `value`, from the spread of the tokens, taken as independent
  int64_t n_scored = 0;
};

// Negative log-likelihoods in nats, summed in the order they come.
class LikelihoodSum {
 public:
  void add(double negative_log_likelihood);
  Perplexity result() const;

 private:
  double sum_ = 0;
  double squares_ = 0;
  int64_t n_ = 0;
};

// Owns: a runner with KV for one window. Computes windows and hands out the scored rows.
class WindowRunner {
 public:
  // Takes n_threads, isa, memory_limit, decoder.kv_type and attention from `options`, and
  // decoder.max_tokens as the most tokens of a step; the rest is set here, for windows of `size`
  // tokens. kUsage if the model's context is smaller.
  static Result<WindowRunner> create(const Model& model, RunnerOptions options, int32_t size);

  // For each scored position: its logits (free to be written) and the token that comes next. Rows
  // come in parallel, in no order; `row` counts them from 0 within the window.
  using ScoreRow = std::function<void(int32_t row, std::span<float> logits, TokenId next)>;
  void run(const Windows& windows, int32_t index, const ScoreRow& score);
  // The same of any tokens, at most `size`: positions [first, tokens.size() - 1) are scored. What
  // the tokens begin with that the last ones began with isn't computed again.
  void run(std::span<const TokenId> tokens, int32_t first, const ScoreRow& score);
  double tokens_per_second() const { return seconds_ > 0 ? n_tokens_ / seconds_ : 0; }
  int64_t workspace_bytes() const { return runner_->workspace_bytes(); }

 private:
  WindowRunner(std::unique_ptr<Runner> runner,
               int32_t size,
               int32_t max_tokens,
               int32_t max_logits);

  std::unique_ptr<Runner> runner_;
  int32_t size_;
  int32_t max_tokens_;
  int32_t max_logits_;
  Sequence sequence_;    // the last one that ran
  double n_tokens_ = 0;  // computed, in so many seconds
  double seconds_ = 0;
};

// `progress` is called after each window. kRuntime if logits are no numbers (a broken model file).
Result<Perplexity> measure_perplexity(
    WindowRunner& runner,
    const Windows& windows,
    const std::function<void(int32_t n_done, const Perplexity& so_far)>& progress);

}  // namespace farthing
