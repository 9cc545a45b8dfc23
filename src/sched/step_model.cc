#include "sched/step_model.h"

#include <algorithm>
#include <cmath>

namespace farthing {
namespace {

// Variances in units of that of a step's noise: how far the coefficients walk with each step, what
// is known of them at first, and how much they may be forgotten.
constexpr double kWalk = 0.01;
constexpr double kFirstVariance = 1e6;
constexpr double kMostVariance = 1e3;
constexpr int64_t kFewSteps = 4;
// A step that took longer than this times what was foreseen tells of the machine's moment (a page
// fault, a neighbour, a stopped process), not of the work: it counts as if it had taken that long.
constexpr int64_t kSteps = 16;
constexpr double kMostSurprise = 4;
// Terms of about one for a large step.
constexpr double kTokens = 512;
constexpr double kPositions = 65536;
constexpr double kPairs = 512.0 * 4096;

}  // namespace

StepModel::Vector StepModel::terms(const StepWork& work) {
  return {1.0,
          static_cast<double>(work.n_tokens) / kTokens,
          static_cast<double>(work.n_positions) / kPositions,
          static_cast<double>(work.n_pairs) / kPairs};
}

void StepModel::observe(const StepWork& work, double seconds) {
  if (n_observed_ == 0) {
    for (int i = 0; i < kTerms; ++i) covariance_[i][i] = kFirstVariance;
  }
  const double foreseen = this->seconds(work);
  if (n_observed_ >= kSteps && foreseen > 0) seconds = std::min(seconds, kMostSurprise * foreseen);
  ++n_observed_;
  const Vector x = terms(work);
  Vector px{};
  for (int i = 0; i < kTerms; ++i) {
    for (int j = 0; j < kTerms; ++j) px[i] += covariance_[i][j] * x[j];
  }
  double denominator = 1;
  double error = seconds;
  for (int i = 0; i < kTerms; ++i) {
    denominator += x[i] * px[i];
    error -= weights_[i] * x[i];
  }
  for (int i = 0; i < kTerms; ++i) weights_[i] += px[i] / denominator * error;
  for (int i = 0; i < kTerms; ++i) {
    for (int j = 0; j < kTerms; ++j) covariance_[i][j] -= px[i] * px[j] / denominator;
    if (covariance_[i][i] < kMostVariance) covariance_[i][i] += kWalk;
  }
}

double StepModel::seconds(const StepWork& work) const {
  const Vector x = terms(work);
  double sum = 0;
  for (int i = 0; i < kTerms; ++i) sum += weights_[i] * x[i];
  return std::max(sum, 0.0);
}

double StepModel::part(const StepWork& slice, int32_t n_slices) const {
  if (n_observed_ < kFewSteps) return static_cast<double>(slice.n_tokens);
  Vector x = terms(slice);
  x[0] /= n_slices;
  double sum = 0;
  for (int i = 0; i < kTerms; ++i) sum += std::max(weights_[i], 0.0) * x[i];
  return sum > 0 ? sum : static_cast<double>(slice.n_tokens);
}

int32_t StepModel::tokens_beside(const StepWork& work,
                                 int32_t first,
                                 double target,
                                 int32_t most) const {
  if (n_observed_ < kFewSteps) return most;
  const auto fits = [&](int32_t n) {
    StepWork all = work;
    all += StepWork::of(first, n);
    return seconds(all) <= target;
  };
  // The largest n that fits, by bisection: more tokens may attend to more positions each.
  int32_t low = 0, high = most + 1;
  while (high - low > 1) {
    const int32_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace farthing
