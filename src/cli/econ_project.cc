// The verbs `econ roi`, `econ human` and `econ breakeven`.
#include <algorithm>
#include <cmath>
#include <limits>

#include "cli/econ.h"
#include "econ/business_case.h"

namespace farthing {
namespace {

struct ProjectCommand {
  EconOptions econ;
  std::string of;
};

std::string months_text(const std::optional<Seconds>& time) {
  return time ? short_number(in_months(*time)) + " months" : "not within the horizon";
}

Json or_null(const std::optional<double>& value) {
  return value ? Json(*value) : Json();
}

// Money as it adds up month by month: what is there if the project is built.
LineChart cash_chart(const BusinessCase& c, const std::string& currency) {
  LineChart chart{
      .title = "Money out and in since the beginning", .x_label = "years", .y_label = currency};
  Series plain{.label = "undiscounted"}, discounted{.label = "discounted"};
  Money sum, worth;
  for (const Flow& flow : flows_of(c.project)) {
    if (flow.years > 0 && plain.points.size() == 1 && in_years(c.project.build) > 0) {
      plain.points.emplace_back(in_years(c.project.build), sum.value);
      discounted.points.emplace_back(in_years(c.project.build), worth.value);
    }
    sum += flow.amount;
    worth += flow.amount / std::pow(1 + c.project.discount_rate, flow.years);
    plain.points.emplace_back(flow.years, sum.value);
    discounted.points.emplace_back(flow.years, worth.value);
  }
  chart.series = {std::move(plain), std::move(discounted)};
  return chart;
}

Result<EconReport> roi(const ProjectCommand& command) {
  FARTHING_TRY(const Scenario scenario, load_scenario(command.econ, "enterprise"));
  FARTHING_TRY(const BusinessCase c, business_case(scenario));
  const std::string& currency = scenario.currency();
  const Returns& r = c.returns;
  EconReport report{.title = "roi: " + scenario.title(),
                    .about = scenario.about(),
                    .json = report_json("roi", scenario)};
  HtmlTable table{.title = "", .header = {"", "", ""}, .rows = {}};
  const auto row = [&](const char* name,
                       const std::string& unit,
                       const Json& value,
                       const std::string& text,
                       const std::string& how = "") {
    table.rows.push_back({name, text, how});
    report.json["rows"].push_back({{"name", name}, {"value", value}, {"unit", unit}});
  };
  const auto money = [&](const char* name, Money m, const std::string& how = "") {
    row(name, currency, m.value, money_text(m.value, currency), how);
  };
  const auto per_query = [&](const char* name, RequestPrice p, const std::string& how) {
    row(name, currency + "/query", p.value, money_text(p.value, currency), how);
  };
  per_query("query before", c.before.price, c.before.from);
  per_query("query after", c.after.price, c.after.from);
  per_query("query after, resolved",
            c.after_resolved,
            fmt::format("with review; {} go on to what was before", percent_text(1 - c.resolved)));
  money("benefit a year", c.project.benefit * years(1), "the first");
  money("running cost a year", c.project.running * years(1));
  money("investment", c.project.investment);
  row("ROI",
      "1",
      or_null(r.roi),
      r.roi ? percent_text(*r.roi) : "-",
      fmt::format("(benefit - running - investment) / investment over {:.4g} years",
                  in_years(c.project.horizon)));
  row("BCR",
      "1",
      or_null(r.bcr),
      r.bcr ? short_number(*r.bcr) : "-",
      "present value of benefits by that of all costs");
  money("NPV", r.npv, fmt::format("at {} a year", percent_text(c.project.discount_rate)));
  row("IRR",
      "1/year",
      or_null(r.irr),
      r.irr ? percent_text(*r.irr) + " a year" : "-",
      r.irr ? "" : "money doesn't turn once from out to in");
  const auto time = [&](const char* name, const std::optional<Seconds>& t) {
    row(name,
        "month",
        t ? Json(in_months(*t)) : Json(),
        months_text(t),
        fmt::format("{:.3g} of them to build it", in_months(c.project.build)));
  };
  time("payback", r.payback);
  time("discounted payback", r.discounted_payback);
  report.tables = {std::move(table), inputs_table(scenario)};
  report.charts = {svg(cash_chart(c, currency))};
  report.notes = {
      "`farthing econ tornado` says which inputs matter, `econ mc` how sure this is, `econ "
      "breakeven` "
      "where it turns."};
  return report;
}

Result<EconReport> human(const ProjectCommand& command) {
  FARTHING_TRY(const Scenario scenario, load_scenario(command.econ, "toast"));
  FARTHING_TRY(const HumanWork person, human_work(scenario));
  FARTHING_TRY(const MachineWork machine, machine_work(scenario));
  Result<HumanEquivalent> equivalent = human_equivalent(person, machine);
  if (!equivalent) return bad_input("{}: {}", scenario.name(), equivalent.error().message);
  const HumanEquivalent& e = *equivalent;
  const std::string& currency = scenario.currency();
  EconReport report{.title = "human: " + scenario.title(),
                    .about = scenario.about(),
                    .json = report_json("human", scenario)};
  HtmlTable table{.title = "", .header = {"", "", ""}, .rows = {}};
  const auto row = [&](const char* name,
                       const std::string& unit,
                       double value,
                       const std::string& text,
                       const char* how) {
    table.rows.push_back({name, text, how});
    report.json["rows"].push_back({{"name", name}, {"value", value}, {"unit", unit}});
  };
  const std::string per_query = currency + "/query";
  const double person_cost = cost_per_query(person).value;
  row("person's query",
      per_query,
      person_cost,
      money_text(person_cost, currency),
      "salary by queries on working days");
  row("machine's query",
      per_query,
      machine.cost.value,
      money_text(machine.cost.value, currency),
      "inference alone");
  row("machine's query, resolved",
      per_query,
      e.resolved_cost.value,
      money_text(e.resolved_cost.value, currency),
      "with review, and people for the rest");
  row("throughput ratio",
      "1",
      e.throughput_ratio,
      times_text(e.throughput_ratio),
      "one system by one person at work; not a price");
  row("people's work taken over",
      "person",
      e.replaced.value,
      short_number(e.replaced.value) + " people",
      "on the payroll, by resolved queries");
  row("cost ratio",
      "1",
      e.cost_ratio,
      times_text(e.cost_ratio),
      "person's query by the machine's, resolved");
  row("naive cost ratio",
      "1",
      e.naive_cost_ratio,
      times_text(e.naive_cost_ratio),
      "as if every answer were right and nobody looked");
  row("quality",
      "1",
      e.quality,
      percent_text(e.quality),
      "resolved: acceptance x (1 - escalation)");
  report.tables = {std::move(table), inputs_table(scenario)};
  report.charts = {
      svg(BarChart{.title = "What a query costs",
                   .unit = per_query,
                   .bars = {{"person", 0, person_cost, ""},
                            {"machine, resolved", 0, e.resolved_cost.value, ""},
                            {"machine, inference alone", 0, machine.cost.value, ""}}})};
  report.notes = {
      "Throughput, cost and quality are three figures: none of them alone is 'efficiency'."};
  return report;
}

struct Turn {
  const Figure* figure = nullptr;
  std::optional<double> at;  // base units
};

// The value of an input nearest to its own at which the NPV is 0, within what the input may be.
std::optional<double> break_even(const Scenario& scenario, const Figure& figure) {
  Scenario changed = scenario;
  const std::string_view key = figure.spec->key;
  const auto worth = [&](double value) {
    changed.assign(key, value);
    const Result<BusinessCase> c = business_case(changed);
    return c ? c->returns.npv.value : std::numeric_limits<double>::quiet_NaN();
  };
  const double own = figure.value;
  const double scale = own != 0 ? std::abs(own) : 1 / scenario.in_form_unit(figure, 1);
  std::optional<double> best;
  for (const int direction : {1, -1}) {
    double last = own, last_worth = worth(own);
    for (int step = 1; step <= 96; ++step) {
      // An eighth of a decade a step, down to a millionth and up to a million times.
      double next = own != 0 ? own * std::pow(10, direction * step / 16.0)
                             : direction * scale * std::pow(10, (step - 64) / 8.0);
      // Signs may change too, where they can: growth of -5 %.
      const double next_worth = worth(next);
      const double clamped = changed.find(key)->value;
      if (std::isnan(next_worth)) break;
      if ((next_worth < 0) != (last_worth < 0)) {
        const auto root = solve(worth, std::min(last, clamped), std::max(last, clamped));
        if (root && (!best || std::abs(*root - own) < std::abs(*best - own))) best = root;
        break;
      }
      if (clamped != next) break;  // that is as far as it may go
      last = next;
      last_worth = next_worth;
    }
  }
  // From almost nothing to nothing.
  if (!best && own > 0 && figure.spec->least <= 0 && !figure.spec->above_least &&
      (worth(0) < 0) != (worth(own) < 0))
    best = solve(worth, 0, own);
  return best;
}

Result<EconReport> breakeven(const ProjectCommand& command) {
  FARTHING_TRY(const Scenario scenario, load_scenario(command.econ, "enterprise"));
  FARTHING_TRY(const BusinessCase base, business_case(scenario));
  const double npv_now = base.returns.npv.value;
  const std::string& currency = scenario.currency();
  EconReport report{.title = "breakeven: " + scenario.title(),
                    .about = scenario.about(),
                    .json = report_json("breakeven", scenario)};
  report.json["npv"] = npv_now;
  HtmlTable table{.title = "", .header = {"input", "now", "NPV is 0 at", "factor"}, .rows = {}};
  bool any = false, known = false;
  for (const Figure& f : scenario.figures()) {
    if (!command.of.empty() && f.spec->key != command.of) continue;
    known = true;
    const std::optional<double> at = break_even(scenario, f);
    any = any || at;
    Json row = {{"input", f.spec->key},
                {"unit", scenario.unit(f)},
                {"value", scenario.in_form_unit(f, f.value)},
                {"break_even", at ? Json(scenario.in_form_unit(f, *at)) : Json()}};
    report.json["rows"].push_back(std::move(row));
    if (!at && command.of.empty()) continue;  // it doesn't turn on this one
    table.rows.push_back({std::string(f.spec->key),
                          scenario.shown(f, f.value),
                          at ? scenario.shown(f, *at) : "nowhere",
                          at && f.value != 0 ? times_text(*at / f.value) : "-"});
  }
  if (!known) {
    return usage_error("--of {}: the scenario {} has no such input; leave --of out to see all",
                       command.of,
                       scenario.name());
  }
  if (!any) {
    return make_error(ErrorKind::kUnreachable,
                      "{}: NPV is {} now, and {} brings it to 0",
                      scenario.name(),
                      money_text(npv_now, currency),
                      command.of.empty() ? "no single input" : "no value of " + command.of);
  }
  report.tables = {std::move(table), inputs_table(scenario)};
  report.notes = {fmt::format("NPV is {} now. Each input alone, all others as they are.",
                              money_text(npv_now, currency))};
  return report;
}

}  // namespace

void add_econ_project(CLI::App& econ, int& exit_code) {
  const auto roi_command = std::make_shared<ProjectCommand>();
  add_econ_verb<ProjectCommand>(
      econ, "roi", "ROI, NPV, IRR, BCR and paybacks of a project", exit_code, roi_command, roi);
  const auto human_command = std::make_shared<ProjectCommand>();
  add_econ_verb<ProjectCommand>(econ,
                                "human",
                                "People and machine at the same work: throughput, cost, quality",
                                exit_code,
                                human_command,
                                human);
  const auto command = std::make_shared<ProjectCommand>();
  CLI::App* verb = add_econ_verb<ProjectCommand>(
      econ,
      "breakeven",
      "Where a project turns: each input's value at which its NPV is 0",
      exit_code,
      command,
      breakeven);
  verb->add_option("--of", command->of, "One input alone; exit code 5 if it can't")
      ->type_name("KEY");
}

}  // namespace farthing
