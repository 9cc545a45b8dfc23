// The verbs `econ curve` and `econ market`.
#include <algorithm>
#include <array>
#include <cmath>

#include "cli/econ.h"
#include "econ/market.h"

namespace farthing {
namespace {

struct MarketCommand {
  EconOptions econ;
};

std::string year_text(double year) {
  return fmt::format("{:.6g}", year);
}

Result<PricePath> path_of(const Scenario& scenario) {
  std::vector<YearPrice> prices;
  for (const DatedPrice& p : scenario.points())
    prices.push_back({p.year, per_million(p.price).value});
  if (prices.empty()) {
    return bad_input(R"({}: a curve needs [[points]] with year = 2020 and price = "0.02 USD/ktok")",
                     scenario.name());
  }
  if (const Figure* factor = scenario.find("curve.factor")) {
    return PricePath{.start_year = prices.back().year,
                     .price = prices.back().price,
                     .factor = factor->value,
                     .factor_low = factor->low,
                     .factor_high = factor->high};
  }
  Result<PricePath> path = fit_path(prices);
  if (!path)
    return bad_input(
        "{}: {}; or give curve.factor = \"3 x\"", scenario.name(), path.error().message);
  return path;
}

Result<EconReport> curve(const MarketCommand& command) {
  FARTHING_TRY(const Scenario scenario, load_scenario(command.econ, "cost-path"));
  FARTHING_TRY(const PricePath path, path_of(scenario));
  const std::string unit = scenario.currency() + "/Mtok";
  const double until = scenario.number("curve.until", std::floor(path.start_year) + 5);
  if (until < path.start_year)
    return bad_input("{}: curve.until = {} lies before the last point ({})",
                     scenario.name(),
                     until,
                     path.start_year);
  EconReport report{.title = "curve: " + scenario.title(),
                    .about = scenario.about(),
                    .json = report_json("curve", scenario)};
  report.json["factor_per_year"] = {
      {"value", path.factor}, {"low", path.factor_low}, {"high", path.factor_high}};
  HtmlTable table{.title = "",
                  .header = {"year", "per million", "low", "high", "a year since", ""},
                  .rows = {}};
  Series known{.label = "prices", .dots = true}, path_line{.label = "path, with its bounds"};
  const DatedPrice* last = nullptr;
  for (const DatedPrice& p : scenario.points()) {
    const double price = per_million(p.price).value;
    std::string change = "-";
    Json yearly;
    if (last && p.year > last->year) {
      const double factor = std::pow(last->price / p.price, 1 / (p.year - last->year));
      // A few weeks don't make a rate of a year.
      if (p.year - last->year >= 0.5) {
        yearly = factor;
        change = factor >= 1 ? short_number(factor) + "x down" : short_number(1 / factor) + "x up";
      }
    }
    table.rows.push_back(
        {year_text(p.year), money_text(price, scenario.currency()), "", "", change, p.label});
    report.json["rows"].push_back({{"year", p.year},
                                   {"kind", "known"},
                                   {"label", p.label},
                                   {"source", p.source},
                                   {"price", price},
                                   {"unit", unit},
                                   {"factor_per_year", yearly}});
    known.points.emplace_back(p.year, price);
    last = &p;
  }
  for (const PricePoint& p : price_points(path, until)) {
    if (p.year > path.start_year) {
      table.rows.push_back({year_text(p.year),
                            money_text(p.price, scenario.currency()),
                            short_number(p.low),
                            short_number(p.high),
                            "",
                            "forecast"});
      report.json["rows"].push_back({{"year", p.year},
                                     {"kind", "forecast"},
                                     {"price", p.price},
                                     {"low", p.low},
                                     {"high", p.high},
                                     {"unit", unit}});
    }
    path_line.points.emplace_back(p.year, p.price);
    path_line.band.emplace_back(p.low, p.high);
  }
  report.tables = {std::move(table), inputs_table(scenario)};
  report.charts = {svg(LineChart{.title = "Price of a million tokens",
                                 .x_label = "year",
                                 .y_label = unit,
                                 .series = {known, path_line},
                                 .log_y = true})};
  report.notes = {
      fmt::format("The path falls {} a year, bounds {} to {} ({}).",
                  times_text(path.factor),
                  times_text(path.factor_low),
                  times_text(path.factor_high),
                  scenario.has("curve.factor") ? "given" : "95 % of the slope of ln(price)"),
      "Models of different years differ in quality: a price list's slope is not that of one "
      "quality."};
  if (path.factor_low < 1)
    report.notes.push_back("The bounds include rising prices: so few points say little.");
  return report;
}

Result<EconReport> market(const MarketCommand& command) {
  FARTHING_TRY(const Scenario scenario, load_scenario(command.econ, "market"));
  for (const char* key :
       {"market.from", "market.until", "market.inference_from", "market.inference_until"}) {
    if (!scenario.has(key)) return scenario.missing(key);
  }
  const double from = scenario.number("market.from", 0), until = scenario.number("market.until", 0);
  if (!(until > from))
    return bad_input(
        "{}: market.until = {} must come after market.from = {}: growth needs its years",
        scenario.find("market.until")->where,
        until,
        from);
  const double n_years = until - from;
  EconReport report{.title = "market: " + scenario.title(),
                    .about = scenario.about(),
                    .json = report_json("market", scenario)};
  HtmlTable table{.title = "", .header = {"", "value", "low", "high", ""}, .rows = {}};
  const auto row = [&](const std::string& name,
                       double value,
                       double a,
                       double b,
                       const auto& text,
                       const char* how) {
    const auto [low, high] = std::minmax({a, b});
    const bool sure = low == high;
    table.rows.push_back({name, text(value), sure ? "" : text(low), sure ? "" : text(high), how});
    report.json["rows"].push_back({{"name", name}, {"value", value}, {"low", low}, {"high", high}});
  };
  const std::string span = fmt::format("{:.0f} to {:.0f}", from, until);
  const auto growth_rows = [&](const std::string& kind) {
    const Figure* begin = scenario.find("market." + kind + "_from");
    const Figure* end = scenario.find("market." + kind + "_until");
    if (!begin || !end) return;
    const auto factor = [&](double x, double y) { return y / x; };
    row(kind + ", " + span,
        factor(begin->value, end->value),
        factor(begin->high, end->low),
        factor(begin->low, end->high),
        times_text,
        "last year by base year");
    row(kind + ", a year",
        yearly_growth(factor(begin->value, end->value), n_years),
        yearly_growth(factor(begin->high, end->low), n_years),
        yearly_growth(factor(begin->low, end->high), n_years),
        percent_text,
        "compound growth");
  };
  growth_rows("training");
  growth_rows("inference");
  const Figure* training_from = scenario.find("market.training_from");
  const Figure* training_until = scenario.find("market.training_until");
  const Figure& inference_from = *scenario.find("market.inference_from");
  const Figure& inference_until = *scenario.find("market.inference_until");
  if (training_from && training_until) {
    const auto ratio = [&](const std::string& name, const Figure& above, const Figure& below) {
      row(name,
          above.value / below.value,
          above.low / below.high,
          above.high / below.low,
          short_number,
          "inference by training");
    };
    ratio(fmt::format("ratio {:.0f}", from), inference_from, *training_from);
    ratio(fmt::format("ratio {:.0f}", until), inference_until, *training_until);
  }
  const Figure* price = scenario.find("market.price_factor");
  const Figure* e = scenario.find("market.elasticity");
  if (price) {
    const auto corners = [&](const auto& f, const Figure& a, const Figure& b) {
      const std::array all = {
          f(a.low, b.low), f(a.low, b.high), f(a.high, b.low), f(a.high, b.high)};
      return std::pair(*std::ranges::min_element(all), *std::ranges::max_element(all));
    };
    row("price", price->value, price->low, price->high, times_text, "last year by base year");
    if (e) {
      const auto [q_low, q_high] = corners(demand_factor, *price, *e);
      row("quantity at the elasticity",
          demand_factor(price->value, e->value),
          q_low,
          q_high,
          times_text,
          "price ^ elasticity");
      const auto [s_low, s_high] = corners(spend_factor, *price, *e);
      row("spend at the elasticity",
          spend_factor(price->value, e->value),
          s_low,
          s_high,
          times_text,
          "price x quantity");
    }
    const double growth = inference_until.value / inference_from.value;
    const double low =
        needed_quantity_factor(price->high, inference_until.low / inference_from.high);
    const double high =
        needed_quantity_factor(price->low, inference_until.high / inference_from.low);
    row("quantity the forecast needs",
        needed_quantity_factor(price->value, growth),
        low,
        high,
        times_text,
        "spend / price");
    if (price->value != 1) {
      row("elasticity the forecast needs",
          elasticity(price->value, needed_quantity_factor(price->value, growth)),
          elasticity(
              price->value,
              needed_quantity_factor(price->value, inference_until.low / inference_from.high)),
          elasticity(
              price->value,
              needed_quantity_factor(price->value, inference_until.high / inference_from.low)),
          short_number,
          "at that price; -1: spend stays as it is");
    }
  }
  report.tables = {std::move(table), inputs_table(scenario)};
  BarChart chart{
      .title = "Spent a year", .unit = scenario.currency() + " (log scale)", .log_scale = true};
  const auto bar = [&](const std::string& label, const Figure* f) {
    if (!f) return;
    const double value = scenario.in_form_unit(*f, f->value);
    chart.bars.push_back({label,
                          std::min(scenario.in_form_unit(*f, f->low), value * 0.97),
                          scenario.in_form_unit(*f, f->high),
                          short_number(value)});
  };
  bar(fmt::format("training {:.0f}", from), training_from);
  bar(fmt::format("inference {:.0f}", from), &inference_from);
  bar(fmt::format("training {:.0f}", until), training_until);
  bar(fmt::format("inference {:.0f}", until), &inference_until);
  report.charts = {svg(chart)};
  report.notes = {
      "Spend is price by quantity: a market grows while prices fall only if quantity grows by more "
      "than they fall."};
  return report;
}

}  // namespace

void add_econ_market(CLI::App& econ, int& exit_code) {
  const auto path = std::make_shared<MarketCommand>();
  add_econ_verb<MarketCommand>(econ,
                               "curve",
                               "What a million tokens cost over the years, with bounds",
                               exit_code,
                               path,
                               curve);
  const auto command = std::make_shared<MarketCommand>();
  add_econ_verb<MarketCommand>(
      econ, "market", "Growth, ratios, and what they ask of demand", exit_code, command, market);
}

}  // namespace farthing
