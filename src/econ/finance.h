// What a project is worth: net present value, internal rate of return, paybacks, ratios. Pure.
// Formulas: Brealey, Myers, Allen, Principles of Corporate Finance, ch. 2, 5 and 6. Rates are of a
// year (0.1 is 10 %); what flows during a year is counted at its end.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "base/result.h"
#include "econ/units.h"

namespace farthing {

// What an annuity pays a year for each unit of money: r / (1 - (1 + r)^-years), 1 / years at r = 0.
// rate >= 0, years > 0.
double capital_recovery_factor(double rate, double years);

struct Flow {
  double years = 0;  // after the beginning
  Money amount;      // negative: paid
};

// Sum of amount / (1 + rate)^years; rate > -1.
Money npv(const std::vector<Flow>& flows, double rate);
// The rate at which npv is 0. None where there isn't exactly one: amounts that never change sign
// (by time) have none, those that do it more than once may have several.
std::optional<double> irr(const std::vector<Flow>& flows);

struct Project {
  Money investment;   // at the beginning
  MoneyRate benefit;  // in the first year of use
  MoneyRate running;  // what keeping it up costs
  double growth = 0;  // of the benefit, from one year to the next
  Seconds build;      // from the investment to the first use
  Seconds horizon;    // of use; the last year may be a part of one
  double discount_rate = 0;
};

struct Returns {
  Money benefit;  // over the horizon, as are all that follow
  Money running;
  Money npv;
  std::optional<double> roi;  // (benefit - running - investment) / investment; none of nothing
  std::optional<double> bcr;  // present value of the benefits by that of all costs; none of nothing
  std::optional<double> irr;
  // From the beginning, build time included; amounts come evenly within a year. None: not within
  // the horizon.
  std::optional<Seconds> payback;
  std::optional<Seconds> discounted_payback;
};

// kUsage names the figure that can't be.
Result<Returns> returns_of(const Project& project);
// The same flows as a list: the investment, then each year's benefit less its running cost.
std::vector<Flow> flows_of(const Project& project);

// Where `f` is 0 between lo and hi, if its signs there differ; to 1e-12 of the place.
std::optional<double> solve(const std::function<double(double)>& f, double lo, double hi);

}  // namespace farthing
