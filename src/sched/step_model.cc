#include "sched/step_model.h"

#include <algorithm>
#include <cmath>

namespace farthing {
namespace {

constexpr double kForgetting = 0.98;  // a step counts half after 34 more
constexpr double kFirstVariance = 1e6;
constexpr double kMostVariance = 1e8;  // where nothing was learnt for long, don't lose all trust
constexpr int64_t kFewSteps = 4;
// Terms of about one for a large step.
constexpr double kTokens = 512;
constexpr double kPositions = 65536;

}  // namespace

StepModel::Vector StepModel::terms(int32_t n_tokens, int64_t n_positions) {
  return {1.0, n_tokens / kTokens, static_cast<double>(n_positions) / kPositions};
}

void StepModel::observe(int32_t n_tokens, int64_t n_positions, double seconds) {
  if (n_observed_ == 0) {
    for (int i = 0; i < kTerms; ++i) covariance_[i][i] = kFirstVariance;
  }
  ++n_observed_;
  const Vector x = terms(n_tokens, n_positions);
  Vector px{};
  for (int i = 0; i < kTerms; ++i) {
    for (int j = 0; j < kTerms; ++j) px[i] += covariance_[i][j] * x[j];
  }
  double denominator = kForgetting;
  double error = seconds;
  for (int i = 0; i < kTerms; ++i) {
    denominator += x[i] * px[i];
    error -= weights_[i] * x[i];
  }
  for (int i = 0; i < kTerms; ++i) weights_[i] += px[i] / denominator * error;
  for (int i = 0; i < kTerms; ++i) {
    for (int j = 0; j < kTerms; ++j) {
      covariance_[i][j] = (covariance_[i][j] - px[i] * px[j] / denominator) / kForgetting;
    }
  }
  for (int i = 0; i < kTerms; ++i) {
    if (covariance_[i][i] < kMostVariance) continue;
    for (int j = 0; j < kTerms; ++j)
      covariance_[i][j] = covariance_[j][i] = i == j ? kMostVariance : 0;
  }
}

double StepModel::seconds(int32_t n_tokens, int64_t n_positions) const {
  const Vector x = terms(n_tokens, n_positions);
  double sum = 0;
  for (int i = 0; i < kTerms; ++i) sum += weights_[i] * x[i];
  return std::max(sum, 0.0);
}

double StepModel::part(int32_t n_tokens, int64_t n_positions, int32_t n_slices) const {
  if (n_observed_ < kFewSteps) return n_tokens;
  Vector x = terms(n_tokens, n_positions);
  x[0] /= n_slices;
  double sum = 0;
  for (int i = 0; i < kTerms; ++i) sum += std::max(weights_[i], 0.0) * x[i];
  return sum > 0 ? sum : n_tokens;
}

int32_t StepModel::tokens_within(double target,
                                 int64_t n_positions,
                                 int32_t least,
                                 int32_t most) const {
  if (n_observed_ < kFewSteps) return most;
  const double per_token = weights_[1] / kTokens;
  const double room = target - seconds(0, n_positions);
  if (per_token <= 0) return room > 0 ? most : least;
  const double tokens = std::floor(room / per_token);
  return static_cast<int32_t>(
      std::clamp(tokens, static_cast<double>(least), static_cast<double>(most)));
}

}  // namespace farthing
