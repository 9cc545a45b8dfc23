// How long a step takes: seconds = start + per_token * tokens + per_position * positions, where
// positions are those whose K and V attention reads. Fitted to the steps that were run, the latest
// weighing most (recursive least squares with forgetting; Haykin, Adaptive Filter Theory, ch. 10).
// Owns: the fit. Does not know: what a step does, clocks.
#pragma once

#include <array>
#include <cstdint>

namespace farthing {

class StepModel {
 public:
  void observe(int32_t n_tokens, int64_t n_positions, double seconds);

  double seconds(int32_t n_tokens, int64_t n_positions) const;
  // Most tokens that a step over n_positions can take within `target` seconds; at least `least`, at
  // most `most`. `most` until a few steps were seen.
  int32_t tokens_within(double target, int64_t n_positions, int32_t least, int32_t most) const;

  // What one of `n_slices` slices adds to a step, and its part of what every step costs. > 0; only
  // ratios mean something until a few steps were seen.
  double part(int32_t n_tokens, int64_t n_positions, int32_t n_slices) const;

  int64_t n_observed() const { return n_observed_; }

 private:
  static constexpr int kTerms = 3;
  using Vector = std::array<double, kTerms>;
  static Vector terms(int32_t n_tokens, int64_t n_positions);

  Vector weights_{};
  std::array<Vector, kTerms> covariance_{};
  int64_t n_observed_ = 0;
};

}  // namespace farthing
