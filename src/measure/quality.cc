#include "measure/quality.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "sample/log_softmax.h"

namespace farthing {
namespace {

constexpr double kZ = 1.959964;  // of 95 %

// Sum over values of the mean and of the mean's standard error.
struct Moments {
  double mean = 0;
  double error = 0;
};

template <class Value>
Moments moments(std::span<const RowComparison> rows, Value value) {
  const auto n = static_cast<double>(rows.size());
  double sum = 0, squares = 0;
  for (const RowComparison& row : rows) sum += value(row);
  const double mean = sum / n;
  for (const RowComparison& row : rows) squares += (value(row) - mean) * (value(row) - mean);
  return {.mean = mean, .error = n > 1 ? std::sqrt(squares / (n - 1) / n) : 0};
}

Estimate around(const Moments& m) {
  return {.value = m.mean, .low = m.mean - kZ * m.error, .high = m.mean + kZ * m.error};
}
// exp of a mean: its interval is that of the exponent.
Estimate exp_of(const Moments& m) {
  const Estimate e = around(m);
  return {.value = std::exp(e.value), .low = std::exp(e.low), .high = std::exp(e.high)};
}

// `sorted` ascending.
Estimate quantile(std::span<const double> sorted, double q) {
  const auto n = static_cast<double>(sorted.size());
  const double spread = kZ * std::sqrt(n * q * (1 - q));
  const auto at = [&](double rank) {
    return sorted[static_cast<size_t>(std::clamp(rank, 0.0, n - 1))];
  };
  return {.value = at(std::floor(n * q)),
          .low = at(std::floor(n * q - spread)),
          .high = at(std::ceil(n * q + spread))};
}

double difference_of_p(const RowComparison& row) {
  return std::exp(-row.nll) - std::exp(-row.nll_reference);
}

}  // namespace

Estimate share_of(int64_t hits, int64_t count) {
  const auto n = static_cast<double>(count);
  const double p = static_cast<double>(hits) / n;
  const double middle = (p + kZ * kZ / (2 * n)) / (1 + kZ * kZ / n);
  const double half = kZ * std::sqrt(p * (1 - p) / n + kZ * kZ / (4 * n * n)) / (1 + kZ * kZ / n);
  // At the ends rounding would leave the share outside.
  return {.value = p, .low = std::min(middle - half, p), .high = std::max(middle + half, p)};
}

RowComparison compare_rows(std::span<const float> reference,
                           std::span<const float> logits,
                           TokenId next) {
  CHECK(reference.size() == logits.size());
  const double sum_reference = log_sum_exp(reference), sum = log_sum_exp(logits);
  double kld = 0;
  size_t top_reference = 0, top = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double log_p = reference[i] - sum_reference;
    // Beyond e^-40 nothing is left of p ln p.
    if (log_p > -40) kld += std::exp(log_p) * (log_p - (logits[i] - sum));
    if (reference[i] > reference[top_reference]) top_reference = i;
    if (logits[i] > logits[top]) top = i;
  }
  const auto token = static_cast<size_t>(next);
  return {.nll_reference = sum_reference - reference[token],
          .nll = sum - logits[token],
          .kld = std::max(kld, 0.0),  // below zero by rounding alone (Gibbs' inequality)
          .same_top = top == top_reference};
}

Quality summarise(std::span<const RowComparison> rows) {
  CHECK(!rows.empty());
  Quality q{.n_scored = static_cast<int64_t>(rows.size())};
  q.ppl = exp_of(moments(rows, [](const RowComparison& r) { return r.nll; }));
  q.ppl_reference = exp_of(moments(rows, [](const RowComparison& r) { return r.nll_reference; }));
  q.ppl_ratio =
      exp_of(moments(rows, [](const RowComparison& r) { return r.nll - r.nll_reference; }));
  q.kld_mean = around(moments(rows, [](const RowComparison& r) { return r.kld; }));
  q.mean_dp = around(moments(rows, difference_of_p));
  const Estimate square = around(moments(rows, [](const RowComparison& r) {
    const double d = difference_of_p(r);
    return d * d;
  }));
  q.rms_dp = {.value = std::sqrt(square.value),
              .low = std::sqrt(std::max(square.low, 0.0)),
              .high = std::sqrt(square.high)};
  q.top1_agreement = share_of(std::ranges::count(rows, true, &RowComparison::same_top), q.n_scored);
  std::vector<double> klds;
  klds.reserve(rows.size());
  for (const RowComparison& row : rows) klds.push_back(row.kld);
  std::ranges::sort(klds);
  q.kld_median = quantile(klds, 0.5);
  q.kld_p99 = quantile(klds, 0.99);
  q.kld_max = klds.back();
  return q;
}

CompareWindow compare_by(WindowRunner& runner, const Windows& windows, int32_t vocab_size) {
  const auto vocab = static_cast<size_t>(vocab_size);
  return [&runner, &windows, vocab](int32_t window,
                                    std::span<const float> reference,
                                    std::span<RowComparison> out) -> Status {
    CHECK(reference.size() == out.size() * vocab);
    runner.run(windows, window, [&](int32_t row, std::span<float> logits, TokenId next) {
      const auto at = static_cast<size_t>(row);
      out[at] = compare_rows(reference.subspan(at * vocab, vocab), logits.first(vocab), next);
    });
    return {};
  };
}

Result<Quality> measure_quality(
    const CompareWindow& model,
    const Windows& windows,
    const ReferenceRows& reference,
    const std::function<void(int32_t n_done, const Quality& so_far)>& progress) {
  const auto n_rows = static_cast<size_t>(windows.n_scored());
  std::vector<RowComparison> rows;
  for (int32_t window = 0; window < windows.count(); ++window) {
    FARTHING_TRY(const std::span<const float> wanted, reference(window));
    rows.resize(rows.size() + n_rows);
    FARTHING_TRY_VOID(model(window, wanted, std::span(rows).last(n_rows)));
    const Quality so_far = summarise(rows);
    for (const double figure :
         {so_far.ppl.value, so_far.ppl_reference.value, so_far.kld_mean.value}) {
      if (std::isfinite(figure)) continue;
      return runtime_failure("logits are no numbers in chunk {}: is one of the files damaged?",
                             window + 1);
    }
    progress(window + 1, so_far);
  }
  return summarise(rows);
}

}  // namespace farthing
