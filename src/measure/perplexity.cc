#include "measure/perplexity.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "sample/log_softmax.h"

namespace farthing {
namespace {

// Rows of logits in the workspace at once: a vocabulary of 262,144 takes 1 MiB a row.
constexpr int64_t kLogitBytes = int64_t{64} << 20;
constexpr int64_t kMostRows = 256;

}  // namespace

void LikelihoodSum::add(double negative_log_likelihood) {
  sum_ += negative_log_likelihood;
  squares_ += negative_log_likelihood * negative_log_likelihood;
  ++n_;
}

Perplexity LikelihoodSum::result() const {
  if (n_ == 0) return {};
  const auto n = static_cast<double>(n_);
  const double mean = sum_ / n;
  const double variance = squares_ / n - mean * mean;
  const double mean_error = n_ > 1 && variance > 0 ? std::sqrt(variance / (n - 1)) : 0;
  const double value = std::exp(mean);
  return {.value = value, .standard_error = mean_error * value, .n_scored = n_};
}

WindowRunner::WindowRunner(std::unique_ptr<Runner> runner,
                           int32_t size,
                           int32_t max_tokens,
                           int32_t max_logits)
    : runner_(std::move(runner)), size_(size), max_tokens_(max_tokens), max_logits_(max_logits) {
  for (int32_t block = 0; block < blocks_for(size); ++block)
    sequence_.blocks.push_back(BlockId{static_cast<uint32_t>(block)});
}

Result<WindowRunner> WindowRunner::create(const Model& model, RunnerOptions options, int32_t size) {
  if (size > model.spec.context_length) {
    return usage_error(
        "--ctx {}: this model was trained for {} tokens", size, model.spec.context_length);
  }
  const int64_t row_bytes = int64_t{model.spec.vocab_size} * static_cast<int64_t>(sizeof(float));
  const auto max_logits =
      static_cast<int32_t>(std::clamp<int64_t>(kLogitBytes / row_bytes, 1, kMostRows));
  options.n_blocks = blocks_for(size);
  options.decoder.context = size;
  options.decoder.max_tokens =
      std::max(std::clamp(options.decoder.max_tokens, 1, size), std::min(max_logits, size));
  options.decoder.max_logits = max_logits;
  FARTHING_TRY(auto runner, Runner::create(model, options));
  return WindowRunner(std::move(runner), size, options.decoder.max_tokens, max_logits);
}

void WindowRunner::run(const Windows& windows, int32_t index, const ScoreRow& score) {
  run(windows.at(index), windows.first_scored(), score);
}

void WindowRunner::run(std::span<const TokenId> tokens, int32_t first, const ScoreRow& score) {
  // The last token has nothing after it to predict.
  const auto end = static_cast<int32_t>(tokens.size()) - 1;
  CHECK(0 <= first && first < end && end < size_);
  const std::span<const TokenId> stored =
      std::span(sequence_.tokens).first(static_cast<size_t>(std::min(sequence_.n_stored, first)));
  auto position = static_cast<int32_t>(std::ranges::mismatch(stored, tokens).in1 - stored.begin());
  sequence_.tokens.assign(tokens.begin(), tokens.end());
  sequence_.n_prompt = end + 1;
  sequence_.n_stored = position;
  while (position < end) {
    const bool scored = position >= first;
    const int32_t count =
        std::min(scored ? max_logits_ : max_tokens_, (scored ? end : first) - position);
    const Batch batch{{Slice{.sequence = &sequence_,
                             .first = position,
                             .count = count,
                             .n_logits = scored ? count : 0}}};
    const TimePoint began = Clock::now();
    const Matrix<float> logits = runner_->forward(batch).all;
    seconds_ += seconds_between(began, Clock::now());
    n_tokens_ += count;
    if (scored) {
      runner_->team().parallel_for(count, 1, [&](int64_t begin, int64_t stop) {
        for (int64_t i = begin; i < stop; ++i) {
          const auto next = static_cast<size_t>(position + i + 1);
          score(static_cast<int32_t>(position - first + i), logits[i], tokens[next]);
        }
      });
    }
    position += count;
    sequence_.n_stored = position;
  }
}

Result<Perplexity> measure_perplexity(
    WindowRunner& runner,
    const Windows& windows,
    const std::function<void(int32_t n_done, const Perplexity& so_far)>& progress) {
  LikelihoodSum sum;
  std::vector<double> likelihoods(static_cast<size_t>(windows.n_scored()));
  for (int32_t i = 0; i < windows.count(); ++i) {
    runner.run(windows, i, [&](int32_t row, std::span<float> logits, TokenId next) {
      likelihoods[static_cast<size_t>(row)] =
          log_sum_exp(logits) - logits[static_cast<size_t>(next)];
    });
    // Summed in order, so that threads don't change the last digits.
    for (const double x : likelihoods) sum.add(x);
    const Perplexity so_far = sum.result();
    if (!std::isfinite(so_far.value)) {
      return runtime_failure("the model's logits are no numbers in chunk {}: is the file damaged?",
                             i + 1);
    }
    progress(i + 1, so_far);
  }
  return sum.result();
}

}  // namespace farthing
