// The verbs `econ tornado` and `econ mc`: inputs that aren't known exactly.
#include <algorithm>
#include <cmath>

#include "cli/econ.h"
#include "econ/business_case.h"

namespace farthing {
namespace {

struct RiskCommand {
  EconOptions econ;
  int32_t draws = 10000;
  uint64_t seed = 1;
};

Result<std::vector<Uncertain>> uncertain_inputs(const Scenario& scenario) {
  std::vector<Uncertain> inputs = scenario.uncertain();
  if (!inputs.empty()) return inputs;
  return bad_input(
      R"({}: no input has bounds: write one as queries = {{value = "1000 query/day", low = "500 query/day", high = "2000 query/day"}})",
      scenario.name());
}

Result<EconReport> tornado_report(const RiskCommand& command) {
  FARTHING_TRY(const Scenario scenario, load_scenario(command.econ, "enterprise"));
  FARTHING_TRY(const BusinessCase base, business_case(scenario));
  FARTHING_TRY(const std::vector<Uncertain> inputs, uncertain_inputs(scenario));
  Scenario changed = scenario;
  std::optional<Error> fault;
  const std::vector<Swing> swings = tornado(inputs, [&](const std::vector<double>& values) {
    changed.assign(values);
    const Result<BusinessCase> c = business_case(changed);
    if (!c && !fault) fault = c.error();
    return c ? c->returns.npv.value : 0.0;
  });
  if (fault) return *fault;
  const std::string& currency = scenario.currency();
  const double npv_now = base.returns.npv.value;
  EconReport report{.title = "tornado: " + scenario.title(),
                    .about = scenario.about(),
                    .json = report_json("tornado", scenario)};
  report.json["npv"] = npv_now;
  HtmlTable table{.title = "",
                  .header = {"input", "low", "high", "NPV at low", "NPV at high", "swing"},
                  .rows = {}};
  BarChart chart{.title = "NPV at the low and the high end of each input",
                 .unit = currency,
                 .baseline = npv_now};
  for (const Swing& s : swings) {
    const Figure& f = *scenario.find(inputs[s.input].name);
    const double swing = std::abs(s.at_high - s.at_low);
    report.json["rows"].push_back({{"input", f.spec->key},
                                   {"unit", scenario.unit(f)},
                                   {"low", scenario.in_form_unit(f, f.low)},
                                   {"high", scenario.in_form_unit(f, f.high)},
                                   {"npv_at_low", s.at_low},
                                   {"npv_at_high", s.at_high},
                                   {"swing", swing}});
    if (swing == 0) continue;  // of no matter here
    table.rows.push_back({std::string(f.spec->key),
                          scenario.shown(f, f.low),
                          scenario.shown(f, f.high),
                          short_number(s.at_low),
                          short_number(s.at_high),
                          short_number(swing)});
    chart.bars.push_back({std::string(f.spec->key), s.at_low, s.at_high, short_number(swing)});
  }
  report.tables = {std::move(table), inputs_table(scenario)};
  report.charts = {svg(chart)};
  report.notes = {fmt::format(
      "NPV is {} with all inputs at their value. Each input alone goes from its low to its "
      "high end; largest swing first.",
      money_text(npv_now, currency))};
  return report;
}

// Twenty bars from the 0.5th to the 99.5th percentile.
BarChart histogram(const std::vector<double>& sorted, const std::string& currency) {
  constexpr int kBins = 20;
  BarChart chart{.title = "How often the NPV comes out so", .unit = "draws"};
  const double low = percentile(sorted, 0.5), high = percentile(sorted, 99.5);
  if (!(high > low)) return chart;
  std::vector<int> counts(kBins);
  for (const double x : sorted) {
    if (x >= low && x <= high)
      ++counts[static_cast<size_t>(std::min(kBins - 1.0, (x - low) / (high - low) * kBins))];
  }
  for (int i = 0; i < kBins; ++i) {
    const double middle = low + (high - low) * (i + 0.5) / kBins;
    chart.bars.push_back(
        {money_text(middle, currency), 0, static_cast<double>(counts[static_cast<size_t>(i)]), ""});
  }
  return chart;
}

Result<EconReport> monte_carlo(const RiskCommand& command) {
  FARTHING_TRY(const Scenario scenario, load_scenario(command.econ, "enterprise"));
  FARTHING_TRY_VOID(business_case(scenario));
  FARTHING_TRY(const std::vector<Uncertain> inputs, uncertain_inputs(scenario));
  FARTHING_TRY(const std::vector<RankCorrelation> correlations, scenario.correlations());
  const auto draws = draw_inputs(inputs, correlations, command.draws, command.seed);
  if (!draws) return bad_input("{}: {}", scenario.name(), draws.error().message);
  std::vector<double> worth, returns, paybacks;  // paybacks in months, of those that are paid back
  Scenario changed = scenario;
  for (const std::vector<double>& draw : *draws) {
    changed.assign(draw);
    FARTHING_TRY(const BusinessCase c, business_case(changed));
    worth.push_back(c.returns.npv.value);
    if (c.returns.roi) returns.push_back(*c.returns.roi);
    if (c.returns.payback) paybacks.push_back(in_months(*c.returns.payback));
  }
  const auto n = static_cast<double>(worth.size());
  const double positive =
      static_cast<double>(std::ranges::count_if(worth, [](double x) { return x > 0; })) / n;
  double mean = 0;
  for (const double x : worth) mean += x / n;
  for (std::vector<double>* list : {&worth, &returns, &paybacks}) std::ranges::sort(*list);
  const std::string& currency = scenario.currency();
  EconReport report{.title = "mc: " + scenario.title(),
                    .about = scenario.about(),
                    .json = report_json("mc", scenario)};
  report.json["draws"] = command.draws;
  report.json["seed"] = command.seed;
  HtmlTable table{.title = "", .header = {"", "P10", "P50", "P90"}, .rows = {}};
  const auto row = [&](const char* name,
                       const std::string& unit,
                       const std::vector<double>& sorted,
                       const auto& text) {
    if (sorted.empty()) return;
    const double p10 = percentile(sorted, 10), p50 = percentile(sorted, 50),
                 p90 = percentile(sorted, 90);
    table.rows.push_back({name, text(p10), text(p50), text(p90)});
    report.json["rows"].push_back(
        {{"name", name}, {"unit", unit}, {"p10", p10}, {"p50", p50}, {"p90", p90}});
  };
  row("NPV", currency, worth, [&](double x) { return money_text(x, currency); });
  row("ROI", "1", returns, percent_text);
  row("payback", "month", paybacks, [](double x) { return short_number(x) + " months"; });
  report.json["mean_npv"] = mean;
  report.json["p_npv_positive"] = positive;
  const double paid = static_cast<double>(paybacks.size()) / n;
  report.json["p_payback_within_horizon"] = paid;
  Series cdf{.label = "paid back by then"};
  Json curve = Json::array();
  const double horizon = in_months(*scenario.get<Seconds>("project.horizon")) +
                         in_months(scenario.get<Seconds>("project.build").value_or(Seconds{}));
  for (double month = 0; month <= horizon * 1.5 && month <= 1200;
       month += std::max(1.0, std::ceil(horizon / 60))) {
    const double part =
        static_cast<double>(std::ranges::upper_bound(paybacks, month) - paybacks.begin()) / n;
    cdf.points.emplace_back(month, part * 100);
    curve.push_back({month, part});
  }
  report.json["payback_cdf"] = std::move(curve);
  report.tables = {std::move(table), inputs_table(scenario)};
  report.charts = {svg(histogram(worth, currency)),
                   svg(LineChart{.title = "When it has paid back",
                                 .x_label = "months",
                                 .y_label = "% of draws",
                                 .series = {cdf}})};
  report.notes = {
      fmt::format("P(NPV > 0) = {}; paid back within the horizon: {}. Mean NPV {}.",
                  percent_text(positive),
                  percent_text(paid),
                  money_text(mean, currency)),
      fmt::format("{} draws of {} inputs, seed {}: the same seed gives the same figures.{}",
                  command.draws,
                  inputs.size(),
                  command.seed,
                  paid < 1 ? " The payback's percentiles are of those that are paid back." : "")};
  return report;
}

}  // namespace

void add_econ_risk(CLI::App& econ, int& exit_code) {
  const auto swings = std::make_shared<RiskCommand>();
  add_econ_verb<RiskCommand>(econ,
                             "tornado",
                             "Which inputs matter: the NPV at each one's low and high end",
                             exit_code,
                             swings,
                             tornado_report);
  const auto command = std::make_shared<RiskCommand>();
  CLI::App* verb = add_econ_verb<RiskCommand>(
      econ,
      "mc",
      "How sure it is: NPV, ROI and payback over random draws of all inputs",
      exit_code,
      command,
      monte_carlo);
  verb->add_option("--draws", command->draws, "How many")
      ->check(CLI::Range(100, 1000000))
      ->type_name("N")
      ->capture_default_str();
  verb->add_option("--seed", command->seed, "Of the draws")->type_name("N")->capture_default_str();
}

}  // namespace farthing
