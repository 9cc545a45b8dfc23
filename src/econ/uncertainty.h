// Inputs that aren't known exactly: which of them matters (tornado), and what comes out of all
// (Monte Carlo). Pure and seeded: the same seed gives the same bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace farthing {

enum class Shape {
  kFixed,      // always `value`
  kPert,       // beta with lowest `low`, likeliest `value`, highest `high`, lambda 4 (Vose, Risk
               // Analysis)
  kLognormal,  // 10 % lie below `low`, 10 % above `high`; its median is sqrt(low * high)
};

struct Uncertain {
  std::string name;
  double low = 0, value = 0, high = 0;
  Shape shape = Shape::kFixed;
};
// Of a number in (0, 1): what is not exceeded with that probability.
double quantile(const Uncertain& input, double probability);

using Model = std::function<double(const std::vector<double>& inputs)>;

struct Swing {
  size_t input = 0;
  double at_low = 0, at_high = 0;  // the model with this input there and all others at their value
};
// Largest swing first.
std::vector<Swing> tornado(const std::vector<Uncertain>& inputs, const Model& model);

struct RankCorrelation {
  size_t a = 0, b = 0;
  double rank = 0;  // Spearman's, in [-1, 1]
};

// By a Gaussian copula. kUsage if the correlations contradict each other.
Result<std::vector<std::vector<double>>> draw_inputs(
    const std::vector<Uncertain>& inputs,
    const std::vector<RankCorrelation>& correlations,
    int32_t n,
    uint64_t seed);

// Linear between order statistics (Hyndman and Fan, type 7); `sorted` isn't empty.
double percentile(const std::vector<double>& sorted, double percent);
// Spearman's rank correlation of two lists of one length.
double rank_correlation(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace farthing
