// Growth, prices that fall, and demand that answers. Growth has its base year, elasticity is always
// explicit, and spend is always told beside price and quantity. Pure.
#pragma once

#include <vector>

#include "base/result.h"

namespace farthing {

// What grows by `factor` over `years` grows by this a year: factor^(1/years) - 1. Above 0, both.
double yearly_growth(double factor, double years);

// Elasticity of demand between two points: ln(quantity factor) / ln(price factor). -1: spend stays;
// nearer 0: it shrinks as prices fall; below -1: it grows. price factor above 0 and not 1.
double elasticity(double price_factor, double quantity_factor);
// Quantity when the price has changed: price_factor^elasticity.
double demand_factor(double price_factor, double elasticity);
// Money spent: price_factor * demand_factor.
double spend_factor(double price_factor, double elasticity);
// What quantity must do for spend to change so while the price does.
double needed_quantity_factor(double price_factor, double spend_factor);

// A price that falls by a factor each year: 10 means a tenth of it a year later. The bounds are
// those of the factor.
struct PricePath {
  double start_year = 0;
  double price = 0;  // in the start year; any unit
  double factor = 1, factor_low = 1, factor_high = 1;
};
struct PricePoint {
  double year = 0;
  double price = 0, low = 0, high = 0;
};
// At start_year, and at each whole year after it up to end_year.
std::vector<PricePoint> price_points(const PricePath& path, double end_year);

// A path through prices of several years: least squares of ln(price) over years, its bounds those
// of the slope at 95 % (Student's t); it starts at the last year, on the line. kBadInput with less
// than three prices (all above 0) or years that don't differ.
struct YearPrice {
  double year = 0;
  double price = 0;
};
Result<PricePath> fit_path(const std::vector<YearPrice>& prices);

}  // namespace farthing
