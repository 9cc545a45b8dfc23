#include "econ/finance.h"

#include <algorithm>
#include <cmath>

namespace farthing {
namespace {

constexpr double kMostYears = 100;

// Each year of use, the last one perhaps a part of one.
struct Year {
  double end = 0;     // after the beginning of the project
  double length = 1;  // of it that is used
  Money benefit, running;
  Money net() const { return benefit - running; }
};

std::vector<Year> years_of(const Project& project) {
  std::vector<Year> list;
  const double horizon = in_years(project.horizon);
  double growth = 1;
  for (double begin = 0; begin < horizon - 1e-9; begin += 1) {
    const double length = std::min(1.0, horizon - begin);
    list.push_back({.end = in_years(project.build) + begin + length,
                    .length = length,
                    .benefit = project.benefit * years(length) * growth,
                    .running = project.running * years(length)});
    growth *= 1 + project.growth;
  }
  return list;
}

// When what came in has paid the investment back; `factor` of a year's end is what its money
// counts.
template <class Factor>
std::optional<Seconds> payback_of(const Project& project, const Factor& factor) {
  if (project.investment <= Money{}) return Seconds{};
  Money open = project.investment;
  for (const Year& year : years_of(project)) {
    const Money net = year.net() * factor(year.end);
    if (net >= open && net > Money{}) return years(year.end - year.length * (1 - open / net));
    open = open - net;
  }
  return std::nullopt;
}

Status check(const char* name, double value, double least, double most, const char* form) {
  if (std::isfinite(value) && value >= least && value <= most) return {};
  return usage_error("{} = {}: {}", name, value, form);
}

}  // namespace

double capital_recovery_factor(double rate, double years) {
  if (rate * years < 1e-9)
    return (1 + rate * (years + 1) / 2) / years;  // else 1 - (1 + r)^-n is all rounding
  return rate / -std::expm1(-years * std::log1p(rate));
}

Money npv(const std::vector<Flow>& flows, double rate) {
  Money sum;
  for (const Flow& flow : flows) sum += flow.amount / std::pow(1 + rate, flow.years);
  return sum;
}

std::optional<double> irr(const std::vector<Flow>& flows) {
  std::vector<Flow> in_time = flows;
  std::ranges::stable_sort(in_time, {}, &Flow::years);
  int changes = 0;
  double last = 0;
  for (const Flow& flow : in_time) {
    const double sign = flow.amount > Money{} ? 1 : flow.amount < Money{} ? -1 : 0;
    if (sign == 0) continue;
    if (last != 0 && sign != last) ++changes;
    last = sign;
  }
  if (changes != 1) return std::nullopt;
  // Over log(1 + rate), which spreads both ends.
  const auto at = [&](double log_rate) { return npv(flows, std::expm1(log_rate)).value; };
  const std::optional<double> root = solve(at, std::log(1e-6), std::log(1e9));
  if (!root) return std::nullopt;
  return std::expm1(*root);
}

std::vector<Flow> flows_of(const Project& project) {
  std::vector<Flow> flows = {{.years = 0, .amount = Money{} - project.investment}};
  for (const Year& year : years_of(project)) flows.push_back({year.end, year.net()});
  return flows;
}

Result<Returns> returns_of(const Project& project) {
  const char* amount = "must be a number that isn't negative";
  const double most = 1e300;
  FARTHING_TRY_VOID(check("investment", project.investment.value, 0, most, amount));
  FARTHING_TRY_VOID(check("running", (project.running * years(1)).value, 0, most, amount));
  FARTHING_TRY_VOID(
      check("benefit", (project.benefit * years(1)).value, -most, most, "must be a number"));
  FARTHING_TRY_VOID(
      check("growth", project.growth, -1, 100, "must be from -100 % to 10000 % a year"));
  FARTHING_TRY_VOID(
      check("discount_rate", project.discount_rate, 0, 100, "must be from 0 % to 10000 % a year"));
  FARTHING_TRY_VOID(
      check("build", in_years(project.build), 0, kMostYears, "must be from 0 to 100 years"));
  FARTHING_TRY_VOID(check("horizon",
                          in_years(project.horizon),
                          1e-3,
                          kMostYears,
                          "must be from a day to 100 years: over no time nothing comes back"));
  Returns result;
  Money worth, cost = project.investment;  // present values
  for (const Year& year : years_of(project)) {
    const double factor = std::pow(1 + project.discount_rate, -year.end);
    result.benefit += year.benefit;
    result.running += year.running;
    worth += year.benefit * factor;
    cost += year.running * factor;
  }
  result.npv = worth - cost;
  if (project.investment > Money{}) {
    result.roi = (result.benefit - result.running - project.investment) / project.investment;
  }
  if (cost > Money{}) result.bcr = worth / cost;
  result.irr = irr(flows_of(project));
  result.payback = payback_of(project, [](double) { return 1.0; });
  result.discounted_payback =
      payback_of(project, [&](double at) { return std::pow(1 + project.discount_rate, -at); });
  if (!std::isfinite(result.npv.value) || !std::isfinite(result.benefit.value))
    return usage_error("benefit: it grows beyond what numbers can hold; shorten the horizon");
  return result;
}

std::optional<double> solve(const std::function<double(double)>& f, double lo, double hi) {
  double at_lo = f(lo), at_hi = f(hi);
  if (at_lo == 0) return lo;
  if (at_hi == 0) return hi;
  if (!((at_lo < 0) != (at_hi < 0)) || std::isnan(at_lo) || std::isnan(at_hi)) return std::nullopt;
  for (int i = 0; i < 200; ++i) {
    const double middle = lo + (hi - lo) / 2;
    if (middle <= lo || middle >= hi) break;  // no number lies between
    const double at = f(middle);
    if (at == 0) return middle;
    if ((at < 0) == (at_lo < 0)) {
      lo = middle;
    } else {
      hi = middle;
    }
  }
  return lo + (hi - lo) / 2;
}

}  // namespace farthing
