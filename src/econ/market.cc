#include "econ/market.h"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>

namespace farthing {

double yearly_growth(double factor, double years) {
  return std::pow(factor, 1 / years) - 1;
}

double elasticity(double price_factor, double quantity_factor) {
  return std::log(quantity_factor) / std::log(price_factor);
}

double demand_factor(double price_factor, double elasticity) {
  return std::pow(price_factor, elasticity);
}

double spend_factor(double price_factor, double elasticity) {
  return price_factor * demand_factor(price_factor, elasticity);
}

double needed_quantity_factor(double price_factor, double spend_factor) {
  return spend_factor / price_factor;
}

std::vector<PricePoint> price_points(const PricePath& path, double end_year) {
  std::vector<PricePoint> points;
  for (double year = path.start_year; year <= end_year; year = std::floor(year) + 1) {
    const auto at = [&](double factor) {
      return path.price / std::pow(factor, year - path.start_year);
    };
    const auto [low, high] = std::minmax({at(path.factor_low), at(path.factor_high)});
    points.push_back({.year = year, .price = at(path.factor), .low = low, .high = high});
  }
  return points;
}

Result<PricePath> fit_path(const std::vector<YearPrice>& prices) {
  const auto n = static_cast<double>(prices.size());
  double mean_x = 0, mean_y = 0, last = 0;
  for (const YearPrice& p : prices) {
    mean_x += p.year / n;
    mean_y += std::log(p.price) / n;
    last = std::max(last, p.year);
  }
  double xx = 0, xy = 0;
  for (const YearPrice& p : prices) {
    xx += (p.year - mean_x) * (p.year - mean_x);
    xy += (p.year - mean_x) * (std::log(p.price) - mean_y);
  }
  if (prices.size() < 3 || !(xx > 1e-9))
    return bad_input("a path can't be fitted to {} prices: give three of different years",
                     prices.size());
  const double slope = xy / xx;
  double squares = 0;
  for (const YearPrice& p : prices) {
    const double rest = std::log(p.price) - mean_y - slope * (p.year - mean_x);
    squares += rest * rest;
  }
  const double t = boost::math::quantile(boost::math::students_t(n - 2), 0.975);
  const double half = t * std::sqrt(squares / (n - 2) / xx);
  return PricePath{.start_year = last,
                   .price = std::exp(mean_y + slope * (last - mean_x)),
                   .factor = std::exp(-slope),
                   .factor_low = std::exp(-slope - half),
                   .factor_high = std::exp(-slope + half)};
}

}  // namespace farthing
