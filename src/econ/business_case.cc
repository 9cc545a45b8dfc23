#include "econ/business_case.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace farthing {
namespace {

constexpr double kMostMachines = 1e9;

double yearly(const Scenario& scenario, std::string_view key, double otherwise) {
  const auto rate = scenario.get<PerYear>(key);
  return rate ? *rate * years(1) : otherwise;
}

// The tokens of a query at prices for each kind of them.
Result<Money> priced_by_kind(const Scenario& scenario, const std::string& way) {
  FARTHING_TRY(const QueryTokens query, query_tokens(scenario));
  TokenPrices prices;
  FARTHING_TRY(prices.input, scenario.need<InputPrice>(way + ".input_price"));
  FARTHING_TRY(prices.output, scenario.need<OutputPrice>(way + ".output_price"));
  // Who has no price for cached tokens takes that of all input.
  prices.cached = scenario.get<CachedPrice>(way + ".cached_price")
                      .value_or(CachedPrice::of_base_units(prices.input.value));
  return cost_of(prices, query);
}

Result<Tokens> all_query_tokens(const Scenario& scenario) {
  using PerQuery = decltype(Tokens{} / Requests{});
  if (const auto tokens = scenario.get<PerQuery>("traffic.tokens")) return *tokens * Requests{1};
  if (!scenario.has("traffic.input_tokens") && !scenario.has("traffic.output_tokens"))
    return scenario.missing("traffic.tokens");
  FARTHING_TRY(const QueryTokens query, query_tokens(scenario));
  return query.all();
}

}  // namespace

Result<QueryTokens> query_tokens(const Scenario& scenario) {
  using Input = decltype(InputTokens{} / Requests{});
  using Cached = decltype(CachedTokens{} / Requests{});
  using Output = decltype(OutputTokens{} / Requests{});
  FARTHING_TRY(const Input input, scenario.need<Input>("traffic.input_tokens"));
  FARTHING_TRY(const Output output, scenario.need<Output>("traffic.output_tokens"));
  const Cached cached = scenario.get<Cached>("traffic.cached_tokens").value_or(Cached{});
  QueryTokens query{
      .input = input * Requests{1}, .cached = cached * Requests{1}, .output = output * Requests{1}};
  if (!(query.input.value + query.output.value > 0))
    return bad_input("{}: a query has no tokens: traffic.input_tokens and output_tokens are both 0",
                     scenario.name());
  return query;
}

Result<MachinePrice> machine_price(const Scenario& scenario) {
  const MoneyRate other = scenario.get<MoneyRate>("machine.other").value_or(MoneyRate{});
  const People staff = scenario.get<People>("machine.staff").value_or(People{});
  if (staff > People{} && !scenario.has("machine.staff_cost"))
    return scenario.missing("machine.staff_cost");
  const MoneyRate extra =
      other + staff * scenario.get<Salary>("machine.staff_cost").value_or(Salary{});
  if (scenario.has("machine.rent") && scenario.has("machine.purchase")) {
    return bad_input("{}: machine.rent and machine.purchase exclude each other: leave one out",
                     scenario.find("machine.purchase")->where);
  }
  if (const auto rent = scenario.get<MoneyRate>("machine.rent"))
    return rented(scenario.currency(), *rent + extra);
  if (!scenario.has("machine.purchase")) return scenario.missing("machine.rent");
  Ownership machine{.other = extra};
  FARTHING_TRY(machine.purchase, scenario.need<Money>("machine.purchase"));
  FARTHING_TRY(const Seconds life, scenario.need<Seconds>("machine.life"));
  machine.years = in_years(life);
  machine.discount_rate = yearly(scenario, "machine.discount_rate", 0);
  machine.residual = scenario.number("machine.residual", 0);
  machine.availability = scenario.number("machine.availability", 1);
  machine.idle_power = scenario.get<Watts>("machine.idle_power").value_or(Watts{});
  machine.busy_power = scenario.get<Watts>("machine.busy_power").value_or(machine.idle_power);
  machine.electricity = scenario.get<EnergyPrice>("machine.electricity").value_or(EnergyPrice{});
  machine.pue = scenario.number("machine.pue", 1);
  Result<MachinePrice> price = owned(scenario.currency(), machine);
  if (!price) return bad_input("{}: machine: {}", scenario.name(), price.error().message);
  return price;
}

Result<Fleet> plan_fleet(const Scenario& scenario) {
  FARTHING_TRY(const MachinePrice price, machine_price(scenario));
  return plan_fleet(scenario, price);
}

Result<Fleet> plan_fleet(const Scenario& scenario, const MachinePrice& price) {
  Fleet fleet{.machine = {.price = price}};
  FARTHING_TRY(fleet.machine.prefill, scenario.need<PrefillRate>("machine.prefill"));
  FARTHING_TRY(fleet.machine.decode, scenario.need<DecodeRate>("machine.decode"));
  FARTHING_TRY(fleet.query, query_tokens(scenario));
  FARTHING_TRY_VOID(check_machine(fleet.machine));
  fleet.one = capacity(fleet.machine, fleet.query);
  const double planned =
      scenario.number("machine.utilisation", 1 / scenario.number("traffic.peak", 1));
  fleet.machine.utilisation = planned;
  RequestRate answered = fleet.one * planned;
  if (const auto queries = scenario.get<RequestRate>("traffic.queries")) {
    fleet.queries = answered = *queries;
    // A hair less than a whole machine more is rounding.
    fleet.n_machines = std::max(1.0, std::ceil(*queries / (fleet.one * planned) - 1e-9));
    if (!(fleet.n_machines <= kMostMachines))
      return bad_input(
          "{}: that traffic would take {:.3g} machines", scenario.name(), fleet.n_machines);
    fleet.machine.utilisation = std::min(1.0, *queries / (fleet.one * fleet.n_machines));
  }
  fleet.cost = rate_of(fleet.machine) * fleet.n_machines;
  fleet.per_query = fleet.cost / answered;
  fleet.per_query_used = price.busy / fleet.one;
  return fleet;
}

Result<QueryCost> query_cost(const Scenario& scenario, const std::string& way) {
  const std::string cost = way + ".cost_per_query", price = way + ".price",
                    input = way + ".input_price", output = way + ".output_price",
                    saving = "after.saving";
  const bool is_after = way == "after";
  const bool by_kind =
      scenario.has(input) || scenario.has(output) || scenario.has(way + ".cached_price");
  const int n_ways =
      scenario.has(cost) + scenario.has(price) + by_kind + (is_after && scenario.has(saving));
  if (n_ways > 1) {
    return bad_input(
        "{}: what a query costs {} is given more than once (cost_per_query, price, input_price "
        "with "
        "output_price{}): leave one",
        scenario.name(),
        way,
        is_after ? ", saving" : "");
  }
  if (const auto given = scenario.get<RequestPrice>(cost)) return QueryCost{*given, "given"};
  if (const auto per_token = scenario.get<TokenPrice>(price)) {
    FARTHING_TRY(const Tokens tokens, all_query_tokens(scenario));
    return QueryCost{*per_token * tokens / Requests{1},
                     fmt::format("{:.6g} tok/query at {}",
                                 tokens.value,
                                 scenario.shown(*scenario.find(price), per_token->value))};
  }
  if (by_kind) {
    FARTHING_TRY(const Money money, priced_by_kind(scenario, way));
    return QueryCost{money / Requests{1}, "tokens by kind at their prices"};
  }
  if (is_after && scenario.has(saving)) {
    FARTHING_TRY(const QueryCost before, query_cost(scenario, "before"));
    const double saved = scenario.number(saving, 0);
    return QueryCost{before.price * (1 - saved),
                     fmt::format("{:.6g} % less than before", saved * 100)};
  }
  if (is_after && scenario.has_table("machine")) {
    FARTHING_TRY(const Fleet fleet, plan_fleet(scenario));
    return QueryCost{fleet.per_query,
                     fmt::format("{} machine{}, {:.1f} % busy",
                                 fleet.n_machines,
                                 fleet.n_machines == 1 ? "" : "s",
                                 fleet.machine.utilisation * 100)};
  }
  if (!is_after && scenario.has_table("human")) {
    FARTHING_TRY(const HumanWork human, human_work(scenario));
    return QueryCost{cost_per_query(human), "a person's query"};
  }
  return scenario.missing(cost);
}

Result<HumanWork> human_work(const Scenario& scenario) {
  HumanWork human;
  FARTHING_TRY(human.salary, scenario.need<Salary>("human.salary"));
  FARTHING_TRY(human.queries, scenario.need<WorkRate>("human.queries"));
  if (!scenario.has("human.working_days")) return scenario.missing("human.working_days");
  human.working_days = scenario.number("human.working_days", 1);
  return human;
}

Result<MachineWork> machine_work(const Scenario& scenario) {
  MachineWork work;
  FARTHING_TRY(work.queries, scenario.need<RequestRate>("traffic.queries"));
  FARTHING_TRY(const QueryCost cost, query_cost(scenario, "after"));
  work.cost = cost.price;
  work.review = scenario.get<RequestPrice>("after.review").value_or(RequestPrice{});
  work.acceptance = scenario.number("after.acceptance", 1);
  work.escalation = scenario.number("after.escalation", 0);
  return work;
}

Result<BusinessCase> business_case(const Scenario& scenario) {
  BusinessCase c;
  FARTHING_TRY(c.queries, scenario.need<RequestRate>("traffic.queries"));
  FARTHING_TRY(c.before, query_cost(scenario, "before"));
  FARTHING_TRY(c.after, query_cost(scenario, "after"));
  FARTHING_TRY(const MachineWork work, machine_work(scenario));
  c.resolved = work.resolved();
  c.after_resolved = c.after.price + work.review + c.before.price * (1 - c.resolved);
  FARTHING_TRY(c.project.investment, scenario.need<Money>("project.investment"));
  FARTHING_TRY(c.project.horizon, scenario.need<Seconds>("project.horizon"));
  c.project.running = scenario.get<MoneyRate>("project.running").value_or(MoneyRate{});
  c.project.build = scenario.get<Seconds>("project.build").value_or(Seconds{});
  c.project.discount_rate = yearly(scenario, "project.discount_rate", 0);
  c.project.growth = yearly(scenario, "traffic.growth", 0);
  c.project.benefit = c.queries * (c.before.price - c.after_resolved);
  Result<Returns> returns = returns_of(c.project);
  if (!returns) return bad_input("{}: {}", scenario.name(), returns.error().message);
  c.returns = *returns;
  return c;
}

}  // namespace farthing
