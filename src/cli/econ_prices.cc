// The verbs `econ cost` and `econ compare`: what tokens and queries cost on a machine, reckoned
// from a scenario or from what was measured, and what APIs ask for the same.
#include <algorithm>
#include <cmath>
#include <map>

#include "base/mapped_file.h"
#include "base/utf8.h"
#include "cli/econ.h"
#include "econ/api_prices.h"
#include "econ/business_case.h"
#include "econ/embedded.h"
#include "econ/ledger.h"
#include "measure/http_call.h"

namespace farthing {
namespace {

constexpr size_t kMostLadderBytes = size_t{64} << 20;
constexpr size_t kMostPriceBytes = size_t{4} << 20;
constexpr double kServerSeconds = 10;

struct PricesCommand {
  EconOptions econ;
  std::string from;
  std::string rung;
  std::string api_key_file;
  std::string prices;
  std::vector<std::string> models;
};

const Json* find(const Json& json, std::initializer_list<const char*> path) {
  const Json* at = &json;
  for (const char* name : path) {
    if (!at->is_object() || !at->contains(name)) return nullptr;
    at = &(*at)[name];
  }
  return at;
}

std::optional<double> positive(const Json* json) {
  if (!json || !json->is_number()) return std::nullopt;
  const double value = json->get<double>();
  return std::isfinite(value) && value > 0 ? std::optional(value) : std::nullopt;
}

// --- a ladder's report

struct LadderRung {
  std::string id;
  std::optional<double> prefill, decode, total;  // tokens/s
  std::optional<double> reserved, used;          // per million tokens, as the ladder has it
};
struct LadderFile {
  std::optional<double> usd_per_hour;
  std::vector<LadderRung> rungs;
};

Result<LadderFile> read_ladder(const std::string& path) {
  FARTHING_TRY(const std::string text, read_file(path, kMostLadderBytes));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const Json* schema = find(json, {"schema"});
  if (!schema || !schema->is_string() ||
      !schema->get<std::string>().starts_with("farthing-ladder/1"))
    return bad_input("{}: is no ladder: make one with farthing ladder --json", printable(path));
  LadderFile ladder{.usd_per_hour = positive(find(json, {"machine", "usd_per_hour"}))};
  const Json* rungs = find(json, {"rungs"});
  if (!rungs || !rungs->is_array() || rungs->empty())
    return bad_input("{}: has no rungs", printable(path));
  for (const Json& rung : *rungs) {
    const Json* id = find(rung, {"id"});
    if (!id || !id->is_string()) return bad_input("{}: a rung has no id", printable(path));
    ladder.rungs.push_back(
        {.id = printable(id->get<std::string>()),
         .prefill = positive(find(rung, {"tokens_per_second", "prefill"})),
         .decode = positive(find(rung, {"tokens_per_second", "decode"})),
         .total = positive(find(rung, {"tokens_per_second", "total"})),
         .reserved = positive(find(rung, {"price_per_million_tokens", "reserved"})),
         .used = positive(find(rung, {"price_per_million_tokens", "used"}))});
  }
  return ladder;
}

// The scenario with the machine that the ladder measured at one of its rungs (the last if none is
// named).
Result<LadderRung> take_ladder(const PricesCommand& command,
                               const LadderFile& ladder,
                               Scenario& scenario) {
  auto rung = std::ranges::find(ladder.rungs, command.rung, &LadderRung::id);
  if (command.rung.empty()) rung = std::prev(ladder.rungs.end());
  if (rung == ladder.rungs.end()) {
    std::vector<std::string> ids;
    for (const LadderRung& r : ladder.rungs) ids.push_back(r.id);
    return usage_error("--rung {}: the ladder has {}", command.rung, fmt::join(ids, ", "));
  }
  if (!rung->prefill || !rung->decode)
    return bad_input(
        "{}: rung {} has no prefill and decode rates", printable(command.from), rung->id);
  if (ladder.usd_per_hour) {
    if (scenario.currency() != "USD")
      return bad_input("{}: is in USD, the scenario in {}: convert one",
                       printable(command.from),
                       scenario.currency());
    scenario.drop_table("machine");
    scenario.put("machine.rent", per_hour(Money{*ladder.usd_per_hour}).value, "ladder");
  }
  scenario.put("machine.prefill", *rung->prefill, "ladder, rung " + rung->id);
  scenario.put("machine.decode", *rung->decode, "ladder, rung " + rung->id);
  return *rung;
}

// --- a running server

// Prometheus' text: values by "name{labels}".
std::map<std::string, double> metrics_of(std::string_view text) {
  std::map<std::string, double> values;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t space = line.rfind(' ');
    if (line.empty() || line.front() == '#' || space == line.npos) continue;
    const std::string number(line.substr(space + 1));
    char* stop = nullptr;
    const double value = std::strtod(number.c_str(), &stop);
    if (stop != number.c_str() && *stop == '\0') values.emplace(line.substr(0, space), value);
  }
  return values;
}

// The values of a name whose labels have all of `labels` ("phase=\"idle\""), added up.
std::optional<double> sum_of(const std::map<std::string, double>& values,
                             std::string_view name,
                             const std::vector<std::string>& labels = {}) {
  std::optional<double> sum;
  for (const auto& [key, value] : values) {
    const size_t brace = std::min(key.find('{'), key.size());
    if (std::string_view(key).substr(0, brace) != name || !std::isfinite(value)) continue;
    const bool all = std::ranges::all_of(
        labels, [&](const std::string& l) { return key.find(l, brace) != key.npos; });
    if (all) sum = sum.value_or(0) + value;
  }
  return sum;
}

std::string label_of(const std::map<std::string, double>& values,
                     std::string_view name,
                     const std::string& label) {
  for (const auto& [key, value] : values) {
    if (!key.starts_with(name)) continue;
    const std::string start = label + "=\"";
    const size_t at = key.find(start);
    if (at != key.npos)
      return key.substr(at + start.size(), key.find('"', at + start.size()) - at - start.size());
  }
  return {};
}

Result<EconReport> cost_of_server(const PricesCommand& command, Scenario scenario) {
  FARTHING_TRY(const Url url, parse_url(command.from, "--from"));
  FARTHING_TRY(const std::string key, read_api_key(command.api_key_file));
  const std::string path = url.base.empty() ? "/metrics" : url.base;
  const Result<HttpAnswer> answer = http_get({.url = {url.host, url.port, ""},
                                              .path = path,
                                              .api_key = key,
                                              .timeout_seconds = kServerSeconds});
  if (!answer)
    return no_resource(
        "no server answers at {} ({}): start one with farthing serve --price-per-hour X",
        command.from,
        answer.error().message);
  if (answer->status != 200) {
    return runtime_failure("{}{} answers {}{}",
                           command.from,
                           url.base.empty() ? path : "",
                           answer->status,
                           answer->status == 401 ? ": give --api-key-file" : "");
  }
  const auto values = metrics_of(answer->body);
  const std::string cost_name = "farthing_cost_total";
  const auto idle = sum_of(values, cost_name, {"phase=\"idle\""});
  const auto prompt_cost = sum_of(values, cost_name, {"phase=\"prompt\""});
  const auto completion_cost = sum_of(values, cost_name, {"phase=\"completion\""});
  if (!idle || !prompt_cost || !completion_cost) {
    return bad_input(
        "{} tells no cost: give its server a price (farthing serve --price-per-hour X, or "
        "--price-file FILE)",
        command.from);
  }
  const std::string currency = printable(label_of(values, cost_name, "currency"));
  const Tokens prompts{sum_of(values, "farthing_prompt_tokens_total").value_or(0)};
  const Tokens computed{
      sum_of(values, "farthing_prompt_tokens_total", {"source=\"compute\""}).value_or(0)};
  const Tokens answers{sum_of(values, "farthing_generation_tokens_total").value_or(0)};
  if (!(answers > Tokens{}))
    return bad_input("{} has generated no token yet: ask it something first (farthing bench serve)",
                     command.from);
  EconReport report{.title = "cost: " + command.from,
                    .about = "Measured by a running server.",
                    .json = report_json("cost", scenario)};
  report.json["from"] = command.from;
  report.json["currency"] = currency;
  HtmlTable table{.title = "Per million tokens",
                  .header = {"basis", "tokens", "price", "the server says", "difference"},
                  .rows = {}};
  const Money used = Money{*prompt_cost + *completion_cost}, all = used + Money{*idle};
  for (const auto& [basis, money] : {std::pair{"reserved", all}, std::pair{"used", used}}) {
    for (const auto& [kind, tokens] :
         {std::pair{"output", answers}, std::pair{"total", prompts + answers}}) {
      const double ours = per_million(money / tokens).value;
      const auto theirs =
          sum_of(values,
                 "farthing_cost_per_million_tokens",
                 {fmt::format("basis=\"{}\"", basis), fmt::format("tokens=\"{}\"", kind)});
      table.rows.push_back(
          {basis,
           kind,
           money_text(ours, currency),
           theirs ? money_text(*theirs, currency) : "-",
           theirs && *theirs > 0 ? fmt::format("{:.3f} %", (ours / *theirs - 1) * 100) : "-"});
      report.json["rows"].push_back({{"name", "price_per_million_tokens"},
                                     {"basis", basis},
                                     {"tokens", kind},
                                     {"value", ours},
                                     {"server", theirs ? Json(*theirs) : Json()},
                                     {"unit", currency + "/Mtok"}});
    }
  }
  report.tables.push_back(std::move(table));
  // By resource-seconds: prompts pay for what they kept busy, answers for theirs.
  if (computed > Tokens{} && used > Money{}) {
    HtmlTable kinds{.title = "By kind of token, per million",
                    .header = {"basis", "input", "cached", "output"},
                    .rows = {}};
    const double with_idle = all / used;
    for (const auto& [basis, factor] : {std::pair{"reserved", with_idle}, std::pair{"used", 1.0}}) {
      const double input = per_million(Money{*prompt_cost} / computed).value * factor;
      const double output = per_million(Money{*completion_cost} / answers).value * factor;
      kinds.rows.push_back(
          {basis, money_text(input, currency), "0 " + currency, money_text(output, currency)});
      report.json["rows"].push_back({{"name", "input_price"},
                                     {"basis", basis},
                                     {"value", input},
                                     {"unit", currency + "/input_Mtok"}});
      report.json["rows"].push_back({{"name", "output_price"},
                                     {"basis", basis},
                                     {"value", output},
                                     {"unit", currency + "/output_Mtok"}});
    }
    report.tables.push_back(std::move(kinds));
  }
  report.notes = {fmt::format(
      "Since it started: {} for {} prompt tokens ({} computed) and {} of answers; {} of it idle.",
      money_text(all.value, currency),
      short_number(prompts.value),
      short_number(computed.value),
      short_number(answers.value),
      percent_text(Money{*idle} / all))};
  return report;
}

// --- a scenario's machine

void add_price_row(EconReport& report,
                   const std::string& name,
                   const char* basis,
                   double value,
                   const std::string& unit) {
  report.json["rows"].push_back(
      {{"name", name}, {"basis", basis}, {"value", value}, {"unit", unit}});
}

Result<EconReport> cost_of_scenario(const Scenario& scenario) {
  FARTHING_TRY(const Fleet fleet, plan_fleet(scenario));
  const std::string& currency = scenario.currency();
  const MachinePrice& price = fleet.machine.price;
  EconReport report{.title = "cost: " + scenario.title(),
                    .about = scenario.about(),
                    .json = report_json("cost", scenario)};
  const double hour = (rate_of(fleet.machine) * hours(1)).value;
  HtmlTable machine{.title = "Machine", .header = {"", ""}, .rows = {}};
  machine.rows = {
      {"an hour",
       fmt::format("{} (idle {}, busy {})",
                   money_text(hour, currency),
                   short_number((price.idle * hours(1)).value),
                   short_number((price.busy * hours(1)).value))},
      {"answers at most", fmt::format("{} queries a second", short_number(fleet.one.value))}};
  add_price_row(report, "machine_hour", "reserved", hour, currency + "/h");
  report.json["rows"].push_back(
      {{"name", "capacity"}, {"value", fleet.one.value}, {"unit", "query/s"}});
  if (fleet.queries > RequestRate{}) {
    machine.rows.push_back({"machines",
                            fmt::format("{}, {} busy on the mean",
                                        fleet.n_machines,
                                        percent_text(fleet.machine.utilisation))});
    machine.rows.push_back({"a year", money_text((fleet.cost * years(1)).value, currency)});
    report.json["rows"].push_back(
        {{"name", "machines"}, {"value", fleet.n_machines}, {"unit", "1"}});
    report.json["rows"].push_back(
        {{"name", "utilisation"}, {"value", fleet.machine.utilisation}, {"unit", "1"}});
    add_price_row(
        report, "yearly_cost", "reserved", (fleet.cost * years(1)).value, currency + "/year");
  } else {
    machine.rows.push_back({"planned load", percent_text(fleet.machine.utilisation)});
  }
  report.tables.push_back(std::move(machine));
  HtmlTable tokens{.title = "Per million tokens, by the seconds that they keep it busy",
                   .header = {"basis", "input", "cached", "output", "all alike"},
                   .rows = {}};
  HtmlTable queries{.title = "Per query", .header = {"basis", "a query", "a thousand"}, .rows = {}};
  for (const Basis basis : {Basis::kReserved, Basis::kUsed}) {
    const std::string name(basis_name(basis));
    const TokenPrices p = token_prices(fleet.machine, basis);
    const Money query = cost_of(p, fleet.query);
    const double input = per_million(p.input).value, output = per_million(p.output).value;
    const double alike = per_million(query / fleet.query.all()).value;
    tokens.rows.push_back({name,
                           money_text(input, currency),
                           money_text(per_million(p.cached).value, currency),
                           money_text(output, currency),
                           money_text(alike, currency)});
    queries.rows.push_back(
        {name, money_text(query.value, currency), money_text(query.value * 1000, currency)});
    add_price_row(report, "input_price", name.c_str(), input, currency + "/input_Mtok");
    add_price_row(report,
                  "cached_price",
                  name.c_str(),
                  per_million(p.cached).value,
                  currency + "/cached_Mtok");
    add_price_row(report, "output_price", name.c_str(), output, currency + "/output_Mtok");
    add_price_row(report, "price_per_million_tokens", name.c_str(), alike, currency + "/Mtok");
    add_price_row(report, "query", name.c_str(), query.value, currency + "/query");
  }
  if (const auto users = scenario.get<People>("traffic.users");
      users && fleet.queries > RequestRate{}) {
    const double user = (fleet.cost * months(1) / *users).value;
    queries.rows.push_back({"reserved", money_text(user, currency) + " a user and month", ""});
    add_price_row(report, "user_month", "reserved", user, currency + "/user/month");
  }
  report.tables.push_back(std::move(tokens));
  report.tables.push_back(std::move(queries));
  report.tables.push_back(inputs_table(scenario));
  BarChart chart{.title = "A million queries, by what they pay for (reserved)", .unit = currency};
  const TokenPrices p = token_prices(fleet.machine, Basis::kReserved);
  const TokenPrices u = token_prices(fleet.machine, Basis::kUsed);
  const double input = (u.input * fleet.query.input).value * 1e6,
               output = (u.output * fleet.query.output).value * 1e6;
  const double whole = cost_of(p, fleet.query).value * 1e6;
  chart.bars = {{"prompts, busy", 0, input, ""},
                {"answers, busy", input, input + output, short_number(output)},
                {"idle", input + output, whole, short_number(whole - input - output)},
                {"whole", 0, whole, ""}};
  report.charts = {svg(chart)};
  report.notes = {
      "reserved: idle time paid for, as in an API's price; used: busy time alone. Cached tokens: "
      "nothing is "
      "computed for them."};
  return report;
}

Result<EconReport> cost(const PricesCommand& command) {
  FARTHING_TRY(Scenario scenario, read_scenario(command.econ, "enterprise"));
  if (command.from.starts_with("http://") || command.from.starts_with("https://")) {
    FARTHING_TRY_VOID(apply_sets(command.econ, scenario));
    return cost_of_server(command, std::move(scenario));
  }
  if (command.from.empty()) {
    if (!command.rung.empty())
      return usage_error("--rung {}: is of a ladder: give --from ladder.json",
                         printable(command.rung));
    FARTHING_TRY_VOID(apply_sets(command.econ, scenario));
    return cost_of_scenario(scenario);
  }
  FARTHING_TRY(const LadderFile ladder, read_ladder(command.from));
  FARTHING_TRY(const LadderRung rung, take_ladder(command, ladder, scenario));
  FARTHING_TRY_VOID(apply_sets(command.econ, scenario));
  FARTHING_TRY(EconReport report, cost_of_scenario(scenario));
  report.title = fmt::format("cost: {} at rung {}", scenario.title(), rung.id);
  report.json["from"] = printable(command.from);
  report.json["rung"] = rung.id;
  FARTHING_TRY(const MachinePrice price, machine_price(scenario));
  HtmlTable rungs{.title = "Rungs, per million tokens of the ladder's workload",
                  .header = {"rung", "tok/s", "price, busy", "the ladder says: reserved", "used"},
                  .rows = {}};
  report.json["rungs"] = Json::array();
  for (const LadderRung& r : ladder.rungs) {
    std::optional<double> ours;
    if (r.total) ours = per_million(price.busy / (Tokens{*r.total} / Seconds{1})).value;
    const auto shown = [&](const std::optional<double>& x) {
      return x ? money_text(*x, scenario.currency()) : "-";
    };
    rungs.rows.push_back({r.id,
                          r.total ? short_number(*r.total) : "-",
                          shown(ours),
                          shown(r.reserved),
                          shown(r.used)});
    const auto json = [](const std::optional<double>& x) { return x ? Json(*x) : Json(); };
    report.json["rungs"].push_back({{"id", r.id},
                                    {"tokens_per_second", json(r.total)},
                                    {"price_per_million_tokens", json(ours)},
                                    {"ladder_reserved", json(r.reserved)},
                                    {"ladder_used", json(r.used)}});
  }
  report.tables.insert(report.tables.begin(), std::move(rungs));
  return report;
}

// --- APIs

Result<PriceTable> read_price_table(const PricesCommand& command) {
  if (command.prices.empty()) return parse_prices(embedded_file("data/prices.toml"), "prices.toml");
  FARTHING_TRY(const std::string text, read_file(command.prices, kMostPriceBytes));
  return parse_prices(text, printable(command.prices));
}

Result<EconReport> compare_prices(const PricesCommand& command) {
  if (command.from.starts_with("http"))
    return usage_error(
        "compare --from takes a ladder's report: a server's counters don't tell how fast it is "
        "(see: econ cost --from)");
  FARTHING_TRY(Scenario scenario, read_scenario(command.econ, "enterprise"));
  if (!command.from.empty()) {
    FARTHING_TRY(const LadderFile ladder, read_ladder(command.from));
    FARTHING_TRY_VOID(take_ladder(command, ladder, scenario));
  }
  FARTHING_TRY_VOID(apply_sets(command.econ, scenario));
  FARTHING_TRY(PriceTable table, read_price_table(command));
  if (table.currency != scenario.currency()) {
    return bad_input(
        "prices are in {}, the scenario in {}: give a table in its currency with --prices",
        table.currency,
        scenario.currency());
  }
  std::erase_if(table.models, [&](const ApiPrice& m) {
    return !command.models.empty() &&
           std::ranges::none_of(command.models, [&](const std::string& part) {
             return m.name.find(part) != m.name.npos;
           });
  });
  if (table.models.empty())
    return usage_error("--model: no model of the table has that in its name");
  FARTHING_TRY(const Fleet fleet, plan_fleet(scenario));
  if (!(fleet.queries > RequestRate{})) return scenario.missing("traffic.queries");
  const double planned =
      scenario.number("machine.utilisation", 1 / scenario.number("traffic.peak", 1));
  const std::string& currency = scenario.currency();
  EconReport report{.title = "compare: " + scenario.title(),
                    .about = scenario.about(),
                    .json = report_json("compare", scenario)};
  report.json["prices_source"] = table.source;
  report.json["prices_date"] = table.date;
  const double per_day = (fleet.queries * days(1)).value;
  const auto month = [&](double per_query) { return per_query * per_day * 365 / 12; };
  struct Row {
    const ApiPrice* model;
    Comparison comparison;
  };
  std::vector<Row> rows;
  for (const ApiPrice& m : table.models) rows.push_back({&m, compare(m, fleet, planned)});
  std::ranges::stable_sort(rows, {}, [](const Row& r) { return r.comparison.api; });
  HtmlTable out{
      .title = fmt::format("{} queries a day of {:.6g} + {:.6g} cached + {:.6g} output tokens",
                           short_number(per_day),
                           fleet.query.input.value,
                           fleet.query.cached.value,
                           fleet.query.output.value),
      .header = {"model", "a query", "a month", "by the machine's", "it wins from, queries a day"},
      .rows = {}};
  const double own = fleet.per_query.value;
  report.json["machine"] = {{"per_query", own},
                            {"per_month", month(own)},
                            {"machines", fleet.n_machines},
                            {"utilisation", fleet.machine.utilisation},
                            {"basis", "reserved"}};
  BarChart chart{.title = "A thousand queries (log scale)",
                 .unit = currency,
                 .baseline = own * 1000,
                 .log_scale = true};
  bool own_shown = false;
  const auto show_own = [&] {
    own_shown = true;
    out.rows.push_back({fmt::format("> this machine ({} of them)", fleet.n_machines),
                        money_text(own, currency),
                        money_text(month(own), currency),
                        "1x",
                        ""});
    chart.bars.push_back({"this machine", own * 1000, own * 1000, short_number(own * 1000)});
  };
  for (const Row& r : rows) {
    const double api = r.comparison.api.value;
    if (!own_shown && api > own) show_own();
    const auto& wins = r.comparison.wins_from;
    out.rows.push_back({r.model->name,
                        money_text(api, currency),
                        money_text(month(api), currency),
                        times_text(api / own),
                        wins ? fmt::format("{} ({} busy)",
                                           short_number((*wins * days(1)).value),
                                           percent_text(*wins / fleet.one))
                             : "never"});
    report.json["rows"].push_back(
        {{"model", r.model->name},
         {"per_query", api},
         {"per_month", month(api)},
         {"ratio", api / own},
         {"cheaper", api < own ? "api" : "machine"},
         {"wins_from_queries_per_day", wins ? Json((*wins * days(1)).value) : Json()}});
    chart.bars.push_back({r.model->name.substr(r.model->name.rfind('/') + 1),
                          std::min(api, own) * 1000,
                          std::max(api, own) * 1000,
                          short_number(api * 1000)});
  }
  if (!own_shown) show_own();
  report.tables = {std::move(out), inputs_table(scenario)};
  report.charts = {svg(chart)};
  report.notes = {
      fmt::format("Prices: {}{}{}.",
                  table.source.empty() ? "the file's own" : table.source,
                  table.date.empty() ? "" : ", read on ",
                  table.date),
      fmt::format(
          "The machine wins from where one of them costs less than the API, at no more than the "
          "planned "
          "mean load ({}); never: not even there. Beyond one machine the count goes up in steps.",
          percent_text(planned)),
      "Prices alone: models of different quality stand beside each other."};
  return report;
}

void add_from(CLI::App& verb, PricesCommand& command, const char* what) {
  verb.add_option("--from", command.from, what)->type_name("FILE|URL");
  verb.add_option("--rung", command.rung, "Of the ladder (default: the last)")->type_name("ID");
}

}  // namespace

void add_econ_prices(CLI::App& econ, int& exit_code) {
  const auto command = std::make_shared<PricesCommand>();
  CLI::App* verb = add_econ_verb<PricesCommand>(
      econ, "cost", "What a token, a query and a user cost on a machine", exit_code, command, cost);
  add_from(*verb,
           *command,
           "Measured: a ladder's JSON, or http://HOST:PORT of a running farthing serve");
  verb->add_option(
          "--api-key-file", command->api_key_file, "File whose first line is the server's API key")
      ->type_name("FILE");
  const auto other = std::make_shared<PricesCommand>();
  CLI::App* against = add_econ_verb<PricesCommand>(
      econ,
      "compare",
      "The same traffic at APIs' prices, and from which volume the machine wins",
      exit_code,
      other,
      compare_prices);
  add_from(*against, *other, "Measured: a ladder's JSON");
  against
      ->add_option("--prices", other->prices, "Another table of prices (TOML, as data/prices.toml)")
      ->type_name("FILE");
  against
      ->add_option("--model", other->models, "Only models with this in their name; again for more")
      ->allow_extra_args(false)
      ->type_name("NAME");
}

}  // namespace farthing
