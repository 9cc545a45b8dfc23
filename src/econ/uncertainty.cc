#include "econ/uncertainty.h"

#include <algorithm>
#include <boost/math/distributions/beta.hpp>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <numbers>
#include <numeric>

namespace farthing {
namespace {

// Boost reports by errno and infinities, never by exceptions: its arguments are checked here.
using Policy = boost::math::policies::policy<
    boost::math::policies::domain_error<boost::math::policies::ignore_error>,
    boost::math::policies::overflow_error<boost::math::policies::ignore_error>,
    boost::math::policies::evaluation_error<boost::math::policies::ignore_error>,
    boost::math::policies::pole_error<boost::math::policies::ignore_error>>;

constexpr double kZ90 = 1.2815515655446004;  // 90 % of a standard normal lie below

// splitmix64 (Steele, Lea, Flood, 2014): the counter-th number of a seed, in (0, 1).
double uniform(uint64_t seed, uint64_t counter) {
  uint64_t z = seed + (counter + 1) * 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  z ^= z >> 31;
  return (static_cast<double>(z >> 12) + 0.5) * 0x1p-52;
}

double normal_quantile(double p) {
  return boost::math::quantile(boost::math::normal_distribution<double, Policy>(), p);
}

double normal_cdf(double z) {
  return 0.5 * std::erfc(-z * std::numbers::sqrt2 / 2);
}

// Lower triangle L with L L' = m, or nothing if m isn't positive definite.
using Square = std::vector<std::vector<double>>;
bool cholesky(Square& m) {
  const size_t n = m.size();
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      double sum = m[i][j];
      for (size_t k = 0; k < j; ++k) sum -= m[i][k] * m[j][k];
      if (i == j) {
        if (!(sum > 1e-12)) return false;
        m[i][i] = std::sqrt(sum);
      } else {
        m[i][j] = sum / m[j][j];
      }
    }
  }
  return true;
}

std::vector<double> ranks(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return values[i]; });
  std::vector<double> rank(values.size());
  for (size_t i = 0; i < order.size(); ++i) rank[order[i]] = static_cast<double>(i);
  return rank;
}

}  // namespace

double quantile(const Uncertain& input, double probability) {
  switch (input.shape) {
    case Shape::kFixed:
      return input.value;
    case Shape::kPert: {
      const double width = input.high - input.low;
      if (!(width > 0)) return input.value;
      const double a = 1 + 4 * (input.value - input.low) / width;
      const double b = 1 + 4 * (input.high - input.value) / width;
      const double x =
          boost::math::quantile(boost::math::beta_distribution<double, Policy>(a, b), probability);
      return std::clamp(input.low + width * x, input.low, input.high);
    }
    case Shape::kLognormal: {
      const double middle = (std::log(input.low) + std::log(input.high)) / 2;
      const double deviation = (std::log(input.high) - std::log(input.low)) / (2 * kZ90);
      return std::exp(middle + deviation * normal_quantile(probability));
    }
  }
  return input.value;
}

std::vector<Swing> tornado(const std::vector<Uncertain>& inputs, const Model& model) {
  std::vector<double> values;
  for (const Uncertain& input : inputs) values.push_back(input.value);
  std::vector<Swing> swings;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].shape == Shape::kFixed) continue;
    const auto at = [&](double x) {
      std::vector<double> changed = values;
      changed[i] = x;
      return model(changed);
    };
    swings.push_back({.input = i, .at_low = at(inputs[i].low), .at_high = at(inputs[i].high)});
  }
  std::ranges::stable_sort(
      swings, std::greater(), [](const Swing& s) { return std::abs(s.at_high - s.at_low); });
  return swings;
}

Result<std::vector<std::vector<double>>> draw_inputs(
    const std::vector<Uncertain>& inputs,
    const std::vector<RankCorrelation>& correlations,
    int32_t n,
    uint64_t seed) {
  const size_t width = inputs.size();
  Square factor(width, std::vector<double>(width));
  for (size_t i = 0; i < width; ++i) factor[i][i] = 1;
  for (const RankCorrelation& c : correlations) {
    CHECK(c.a < width && c.b < width);
    if (c.a == c.b || !(std::abs(c.rank) < 1)) {
      return usage_error(
          "rank correlation {} of {} and {}: must be of two inputs and between -1 and 1",
          c.rank,
          inputs[c.a].name,
          inputs[c.b].name);
    }
    // Of the normals beneath (Pearson, 1907).
    factor[c.a][c.b] = factor[c.b][c.a] = 2 * std::sin(std::numbers::pi / 6 * c.rank);
  }
  if (!cholesky(factor))
    return usage_error(
        "the rank correlations contradict each other: no inputs can have all of them");
  std::vector<std::vector<double>> draws(static_cast<size_t>(n), std::vector<double>(width));
  std::vector<double> normals(width);
  for (size_t i = 0; i < draws.size(); ++i) {
    for (size_t j = 0; j < width; ++j) normals[j] = normal_quantile(uniform(seed, i * width + j));
    for (size_t j = 0; j < width; ++j) {
      double z = 0;
      for (size_t k = 0; k <= j; ++k) z += factor[j][k] * normals[k];
      draws[i][j] = quantile(inputs[j], std::clamp(normal_cdf(z), 0x1p-53, 1 - 0x1p-53));
    }
  }
  return draws;
}

double percentile(const std::vector<double>& sorted, double percent) {
  const double place = percent / 100 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(std::floor(place));
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - std::floor(place));
}

double rank_correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const std::vector<double> x = ranks(a), y = ranks(b);
  const double mean = (static_cast<double>(x.size()) - 1) / 2;
  double both = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    both += (x[i] - mean) * (y[i] - mean);
    xx += (x[i] - mean) * (x[i] - mean);
    yy += (y[i] - mean) * (y[i] - mean);
  }
  return both / std::sqrt(xx * yy);
}

}  // namespace farthing
