// How long a step takes: seconds = start + a * tokens + b * positions + c * pairs. Fitted to the
// steps that were run by a Kalman filter whose state, the coefficients, walks at random: the latest
// steps weigh most, and what no step tells of is forgotten slowly (Haykin, Adaptive Filter Theory,
// ch. 10 and 16). Owns: the fit. Does not know: what a step does, clocks.
#pragma once

#include <array>
#include <cstdint>

namespace farthing {

// What a step has to do.
struct StepWork {
  int64_t n_tokens = 0;
  int64_t n_positions = 0;  // whose K and V are read, by each sequence once
  int64_t n_pairs = 0;      // of a token and a position that it attends to

  // `count` tokens of a sequence from position `first` on.
  static StepWork of(int32_t first, int32_t count) {
    const int64_t end = int64_t{first} + count;
    return {count, end, count * (first + end + 1) / 2};
  }
  StepWork& operator+=(const StepWork& other) {
    n_tokens += other.n_tokens;
    n_positions += other.n_positions;
    n_pairs += other.n_pairs;
    return *this;
  }
};

class StepModel {
 public:
  void observe(const StepWork& work, double seconds);

  double seconds(const StepWork& work) const;
  // How many tokens of a prompt, at position `first` of it, fit into a step of `target` seconds
  // beside `work`: at most `most`, and `most` until a few steps were seen.
  int32_t tokens_beside(const StepWork& work, int32_t first, double target, int32_t most) const;
  // What one of `n_slices` slices adds to a step, and its part of what every step costs. > 0; only
  // ratios mean something until a few steps were seen.
  double part(const StepWork& slice, int32_t n_slices) const;

  int64_t n_observed() const { return n_observed_; }

 private:
  static constexpr int kTerms = 4;
  using Vector = std::array<double, kTerms>;
  static Vector terms(const StepWork& work);

  Vector weights_{};
  std::array<Vector, kTerms> covariance_{};
  int64_t n_observed_ = 0;
};

}  // namespace farthing
