// What a model has lost against a reference: perplexity of both on the same text, and how far the
// distribution of every next token is from the reference's. The measures are llama-perplexity's
// --kl-divergence's; natural logarithms.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "core/ids.h"
#include "measure/perplexity.h"
#include "measure/windows.h"

namespace farthing {

// One position: what both say of the token that comes next.
struct RowComparison {
  double nll_reference = 0;  // -ln p of that token
  double nll = 0;
  double kld = 0;         // sum over the vocabulary of p_reference ln(p_reference / p)
  bool same_top = false;  // the likeliest token is the same (the lowest id, of equal ones)
};
// Logits of the same vocabulary, each up to a constant.
RowComparison compare_rows(std::span<const float> reference,
                           std::span<const float> logits,
                           TokenId next);

// A figure and its interval of 95 %: mean +- 1.96 standard errors, Wilson's for shares (1927), of
// order statistics for quantiles (David, Nagaraja, Order Statistics, 7.1). Positions are taken as
// independent, as llama-perplexity takes them.
struct Estimate {
  double value = 0;
  double low = 0;
  double high = 0;
};
Estimate share_of(int64_t hits, int64_t count);  // count > 0

struct Quality {
  int64_t n_scored = 0;
  Estimate ppl;
  Estimate ppl_reference;
  Estimate ppl_ratio;  // its interval is of the paired difference of log-likelihoods
  Estimate kld_mean;
  Estimate kld_median;
  Estimate kld_p99;
  double kld_max = 0;
  Estimate top1_agreement;  // share of positions
  Estimate rms_dp;          // of p(next) - p_reference(next)
  Estimate mean_dp;
};
// Of at least one row.
Quality summarise(std::span<const RowComparison> rows);

// The rows of logits of a window, [n_scored][vocab], by its index: a model's, or a file's.
using ReferenceRows = std::function<Result<std::span<const float>>(int32_t window)>;
// Compares a model's rows of a window with these, one for one.
using CompareWindow = std::function<Status(
    int32_t window, std::span<const float> reference, std::span<RowComparison> out)>;
// A model that runs here. All outlive it.
CompareWindow compare_by(WindowRunner& runner, const Windows& windows, int32_t vocab_size);

// kRuntime if logits are no numbers. `progress` as measure_perplexity's.
Result<Quality> measure_quality(
    const CompareWindow& model,
    const Windows& windows,
    const ReferenceRows& reference,
    const std::function<void(int32_t n_done, const Quality& so_far)>& progress);

}  // namespace farthing
