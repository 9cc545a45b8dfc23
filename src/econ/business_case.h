// What a scenario comes to: what a query costs before and after, the machines it takes, and the
// project's returns. Pure.
#pragma once

#include <optional>
#include <string>

#include "econ/finance.h"
#include "econ/human.h"
#include "econ/scenario.h"

namespace farthing {

// The machines that answer a scenario's traffic: whole ones, bought for the busiest hour.
struct Fleet {
  WorkingMachine machine;  // its utilisation is what the traffic comes to
  QueryTokens query;
  RequestRate one;  // what one machine answers while it is busy all the time
  double n_machines = 1;
  RequestRate queries;     // the traffic; 0: not given, one machine at its planned utilisation
  MoneyRate cost;          // of all of them
  RequestPrice per_query;  // reserved
  RequestPrice per_query_used;
};
Result<MachinePrice> machine_price(const Scenario& scenario);
Result<QueryTokens> query_tokens(const Scenario& scenario);
Result<Fleet> plan_fleet(const Scenario& scenario);
// `price` instead of the scenario's, where somebody measured it.
Result<Fleet> plan_fleet(const Scenario& scenario, const MachinePrice& price);

// What a query costs, and of what that was made: "1000 tok/query at 0.002 USD/ktok".
struct QueryCost {
  RequestPrice price;
  std::string from;
};
// `way` is before or after: cost_per_query, else its prices, else (before) human, (after) saving or
// machine. More than one of them is an error.
Result<QueryCost> query_cost(const Scenario& scenario, const std::string& way);

struct BusinessCase {
  RequestRate queries;
  QueryCost before, after;
  double resolved = 1;          // part that needs nothing of what was before
  RequestPrice after_resolved;  // with review, and what was before for the rest
  Project project;
  Returns returns;
};
Result<BusinessCase> business_case(const Scenario& scenario);

Result<HumanWork> human_work(const Scenario& scenario);
Result<MachineWork> machine_work(const Scenario& scenario);

}  // namespace farthing
