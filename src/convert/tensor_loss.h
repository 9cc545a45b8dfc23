// What a tensor loses when it is written with fewer bits.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>

namespace farthing {

// How far a tensor moved: root mean square of the difference, as a share of that of its values.
struct TensorLoss {
  double error = 0;
  double weighted = 0;  // the same, values weighed by their importance (1 if there is none)
};

// The sums of squares that it comes from.
struct LossSums {
  double error = 0, norm = 0;
  double weighted_error = 0, weighted_norm = 0;

  // A row before and after; weights of its columns, or none.
  void add(std::span<const float> before,
           std::span<const float> after,
           std::span<const float> weights) {
    for (size_t i = 0; i < before.size(); ++i) {
      const double v = before[i], d = double{after[i]} - before[i];
      const double weight = weights.empty() ? 1 : weights[i];
      error += d * d;
      norm += v * v;
      weighted_error += weight * d * d;
      weighted_norm += weight * v * v;
    }
  }
  void add(const LossSums& other) {
    error += other.error;
    norm += other.norm;
    weighted_error += other.weighted_error;
    weighted_norm += other.weighted_norm;
  }
  TensorLoss loss() const {
    const auto share = [](double e, double n) { return n > 0 ? std::sqrt(e / n) : 0; };
    return {share(error, norm), share(weighted_error, weighted_norm)};
  }
};

}  // namespace farthing
