#include "econ/scenario_inputs.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/nearest.h"
#include "base/utf8.h"

namespace farthing {
namespace {

constexpr Dim kPerQuery = RequestPrice::kDim;
constexpr Dim kYearly = MoneyRate::kDim;
constexpr Dim kRatio = {};
constexpr bool kAbove = true;
constexpr double kAny = 1e300;

constexpr std::array kInputs = {
    InputSpec{
        "traffic.queries", RequestRate::kDim, 0, kAny, kAbove, "500000 query/day", "What is asked"},
    InputSpec{"traffic.growth",
              PerYear::kDim,
              -100,
              1000,
              false,
              "10 %/year",
              "Of the queries, from year to year"},
    InputSpec{"traffic.peak",
              kRatio,
              1,
              1000,
              false,
              "3 x",
              "Busiest hour by the mean; machines are bought for it"},
    InputSpec{"traffic.users", People::kDim, 0, kAny, kAbove, "10000 user", "Who ask"},
    InputSpec{"traffic.tokens",
              Tokens::kDim - Requests::kDim,
              0,
              1e9,
              false,
              "1000 tok/query",
              "All tokens of a query, where they cost alike"},
    InputSpec{"traffic.input_tokens",
              InputTokens::kDim - Requests::kDim,
              0,
              1e9,
              false,
              "800 input_tok/query",
              "Prompt tokens that must be computed"},
    InputSpec{"traffic.cached_tokens",
              CachedTokens::kDim - Requests::kDim,
              0,
              1e9,
              false,
              "200 cached_tok/query",
              "Prompt tokens that are stored already"},
    InputSpec{"traffic.output_tokens",
              OutputTokens::kDim - Requests::kDim,
              0,
              1e9,
              false,
              "200 output_tok/query",
              "Tokens of an answer"},

    InputSpec{"before.cost_per_query",
              kPerQuery,
              0,
              kAny,
              false,
              "2 USD/query",
              "What a query costs without the project"},
    InputSpec{
        "before.price", TokenPrice::kDim, 0, kAny, false, "0.002 USD/ktok", "Or: of any token"},
    InputSpec{"before.input_price",
              InputPrice::kDim,
              0,
              kAny,
              false,
              "2.5 USD/input_Mtok",
              "Or: by kind of token"},
    InputSpec{"before.cached_price", CachedPrice::kDim, 0, kAny, false, "1.25 USD/cached_Mtok", ""},
    InputSpec{"before.output_price", OutputPrice::kDim, 0, kAny, false, "10 USD/output_Mtok", ""},

    InputSpec{"after.cost_per_query",
              kPerQuery,
              0,
              kAny,
              false,
              "0.02 USD/query",
              "What a query costs with the project"},
    InputSpec{
        "after.price", TokenPrice::kDim, 0, kAny, false, "0.0002 USD/ktok", "Or: of any token"},
    InputSpec{"after.input_price",
              InputPrice::kDim,
              0,
              kAny,
              false,
              "0.15 USD/input_Mtok",
              "Or: by kind of token"},
    InputSpec{"after.cached_price", CachedPrice::kDim, 0, kAny, false, "0.075 USD/cached_Mtok", ""},
    InputSpec{"after.output_price", OutputPrice::kDim, 0, kAny, false, "0.6 USD/output_Mtok", ""},
    InputSpec{
        "after.saving", kRatio, 0, 100, false, "90 %", "Or: part of the cost before that is saved"},
    InputSpec{"after.review",
              kPerQuery,
              0,
              kAny,
              false,
              "0.05 USD/query",
              "A person's look at answers, spread over all"},
    InputSpec{"after.acceptance", kRatio, 0, 100, false, "90 %", "Answers that are right"},
    InputSpec{"after.escalation",
              kRatio,
              0,
              100,
              false,
              "30 %",
              "Queries passed on to what answered them before"},

    InputSpec{"human.salary",
              Salary::kDim,
              0,
              kAny,
              false,
              "8000 USD/person/month",
              "With all that comes on top"},
    InputSpec{"human.queries",
              WorkRate::kDim,
              0,
              kAny,
              kAbove,
              "75 query/person/day",
              "Of a working day"},
    InputSpec{
        "human.working_days", kRatio, 0, 30.4166666667, kAbove, "22 day/month", "Days at work"},

    InputSpec{"machine.rent",
              kYearly,
              0,
              kAny,
              false,
              "2.5 USD/h",
              "Of one machine; or else what it costs to own"},
    InputSpec{"machine.purchase", Money::kDim, 0, kAny, false, "12000 USD", ""},
    InputSpec{"machine.life", Seconds::kDim, 0, 100, kAbove, "4 year", "Of use"},
    InputSpec{"machine.discount_rate", PerYear::kDim, 0, 1000, false, "8 %/year", ""},
    InputSpec{"machine.residual", kRatio, 0, 100, false, "10 %", "Of the purchase, at the end"},
    InputSpec{
        "machine.availability", kRatio, 0, 100, kAbove, "98 %", "Part of the hours that it works"},
    InputSpec{"machine.idle_power", Watts::kDim, 0, kAny, false, "120 W", ""},
    InputSpec{"machine.busy_power", Watts::kDim, 0, kAny, false, "450 W", ""},
    InputSpec{
        "machine.pue", kRatio, 1, 10, false, "1.5 x", "Energy of the room by that of the machine"},
    InputSpec{"machine.electricity", EnergyPrice::kDim, 0, kAny, false, "0.12 USD/kWh", ""},
    InputSpec{"machine.other", kYearly, 0, kAny, false, "600 USD/year", "Space, network, licences"},
    InputSpec{
        "machine.staff", People::kDim, 0, kAny, false, "0.05 FTE", "Who keep one machine running"},
    InputSpec{"machine.staff_cost", Salary::kDim, 0, kAny, false, "120000 USD/FTE/year", ""},
    InputSpec{"machine.prefill",
              PrefillRate::kDim,
              0,
              kAny,
              kAbove,
              "4000 input_tok/s",
              "Prompts, while it does nothing else"},
    InputSpec{"machine.decode",
              DecodeRate::kDim,
              0,
              kAny,
              kAbove,
              "900 output_tok/s",
              "Answers, of all sequences together"},
    InputSpec{"machine.utilisation",
              kRatio,
              0,
              100,
              kAbove,
              "35 %",
              "Most mean load to plan for (default: 1 / traffic.peak)"},

    InputSpec{
        "project.investment", Money::kDim, 0, kAny, false, "500000 USD", "Paid at the beginning"},
    InputSpec{
        "project.running", kYearly, 0, kAny, false, "150000 USD/year", "What keeping it up costs"},
    InputSpec{"project.build", Seconds::kDim, 0, 1200, false, "2 month", "Before it is of use"},
    InputSpec{"project.horizon", Seconds::kDim, 0, 100, kAbove, "3 year", "Of use"},
    InputSpec{"project.discount_rate", PerYear::kDim, 0, 1000, false, "10 %/year", ""},

    InputSpec{"curve.factor",
              kRatio,
              0,
              1e6,
              kAbove,
              "3 x",
              "Prices fall by it each year (default: fitted to the points)"},
    InputSpec{"curve.until", kRatio, 1900, 2200, false, "2030", "Last year"},

    InputSpec{"market.from", kRatio, 1900, 2200, false, "2023", "Base year"},
    InputSpec{"market.until", kRatio, 1900, 2200, false, "2030", "Last year"},
    InputSpec{"market.training_from",
              kYearly,
              0,
              kAny,
              kAbove,
              "100e9 USD/year",
              "Spent on training in the base year"},
    InputSpec{"market.training_until",
              kYearly,
              0,
              kAny,
              kAbove,
              "250e9 USD/year",
              "And in the last year"},
    InputSpec{"market.inference_from",
              kYearly,
              0,
              kAny,
              kAbove,
              "4e9 USD/year",
              "Spent on inference in the base year"},
    InputSpec{"market.inference_until",
              kYearly,
              0,
              kAny,
              kAbove,
              "1e12 USD/year",
              "And in the last year"},
    InputSpec{"market.price_factor",
              kRatio,
              0,
              1e6,
              kAbove,
              "14 %",
              "Price in the last year by that of the base year"},
    InputSpec{"market.elasticity",
              kRatio,
              -10,
              10,
              false,
              "-1.2 x",
              "Of demand: change of quantity per change of price, in logarithms"},
};

bool is_year(const InputSpec& spec) {
  return spec.least == 1900;
}

}  // namespace

std::span<const InputSpec> scenario_inputs() {
  return kInputs;
}

const InputSpec* find_input(std::string_view key) {
  const auto at = std::ranges::find(kInputs, key, &InputSpec::key);
  return at == kInputs.end() ? nullptr : &*at;
}

std::string no_such_input(std::string_view key, std::vector<std::string> more) {
  for (const InputSpec& spec : kInputs) more.emplace_back(spec.key);
  const std::string best = nearest(key, more);
  return fmt::format(
      "there is no input {}{}",
      printable(key),
      best.empty() ? "; docs/economics.md lists them" : ": did you mean " + best + "?");
}

bool is_price(const InputSpec& spec) {
  return spec.key.ends_with("price") && spec.dim.money == 1;
}

std::string in_currency(std::string_view form, std::string_view currency) {
  std::string text(form);
  if (const size_t at = text.find("USD"); at != text.npos) text.replace(at, 3, currency);
  return text;
}

std::string unit_of(const InputSpec& spec, std::string_view currency) {
  const size_t space = spec.form.find(' ');
  return space == spec.form.npos ? std::string()
                                 : in_currency(spec.form.substr(space + 1), currency);
}

std::string quoted_form(const InputSpec& spec, std::string_view currency) {
  const std::string_view name = spec.key.substr(spec.key.find('.') + 1);
  return is_year(spec) ? fmt::format("{} = {}", name, spec.form)
                       : fmt::format("{} = \"{}\"", name, in_currency(spec.form, currency));
}

Result<double> read_value(const InputSpec& spec, std::string_view text, std::string_view currency) {
  FARTHING_TRY(const Amount amount, parse_amount(text, currency));
  if (amount.dim != spec.dim) {
    if (amount.dim == Dim{})
      return bad_input(
          "{} = {} has no unit: write {}", spec.key, printable(text), quoted_form(spec, currency));
    return bad_input("{} = \"{}\" is in {}, which can't stand for {}: write {}",
                     spec.key,
                     printable(text),
                     dim_name(amount.dim, currency),
                     dim_name(spec.dim, currency),
                     quoted_form(spec, currency));
  }
  const double shown = in_unit(amount, unit_of(spec, currency), currency);
  const double slack = 1e-9 * std::max(std::abs(spec.least), 1.0);
  const bool low = spec.above_least ? shown <= spec.least : shown < spec.least - slack;
  if (low && spec.least == 0) {
    return bad_input("{} = \"{}\" {}: write {}",
                     spec.key,
                     printable(text),
                     shown == 0 ? "must be more than zero" : "is negative",
                     quoted_form(spec, currency));
  }
  if (low || shown > spec.most * (1 + 1e-9)) {
    return bad_input("{} = \"{}\" must be from {} to {} {}: write {}",
                     spec.key,
                     printable(text),
                     spec.least,
                     spec.most,
                     unit_of(spec, currency),
                     quoted_form(spec, currency));
  }
  return amount.value;
}

}  // namespace farthing
