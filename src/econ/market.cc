#include "econ/market.h"

#include <algorithm>
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
  for (double year = path.start_year; year <= end_year; ++year) {
    const auto at = [&](double factor) { return path.price / std::pow(factor, year - path.start_year); };
    const auto [low, high] = std::minmax(at(path.factor_low), at(path.factor_high));
    points.push_back({.year = year, .price = at(path.factor), .low = low, .high = high});
  }
  return points;
}

}  // namespace farthing
