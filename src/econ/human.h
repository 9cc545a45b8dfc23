// People and machines at the same work. Three figures are kept apart, because none stands for the
// others: how much more it does, how much less it costs, and what of its work is good. Pure.
#pragma once

#include "base/result.h"
#include "econ/units.h"

namespace farthing {

using Salary = decltype(Money{} / People{} / Seconds{});
using WorkRate = decltype(Requests{} / People{} / Seconds{});

struct HumanWork {
  Salary salary;            // with all that comes on top
  WorkRate queries;         // of a working day
  double working_days = 1;  // part of all days: 22 of 30.4
};
// What a person's query costs; salary / (queries * working days).
RequestPrice cost_per_query(const HumanWork& human);

struct MachineWork {
  RequestRate queries;
  RequestPrice cost;
  RequestPrice review;    // a person's look at an answer, spread over all of them
  double acceptance = 1;  // answers that are right
  double escalation = 0;  // queries that are passed on to people anyway
  double resolved() const { return acceptance * (1 - escalation); }
};

struct HumanEquivalent {
  double throughput_ratio = 0;  // queries of the machine by those of one person at work
  People replaced;              // on the payroll, by what the machine resolves
  double naive_cost_ratio = 0;  // a person's query by the machine's
  RequestPrice resolved_cost;   // of a query to its end, people's part included
  double cost_ratio = 0;        // a person's query by that
  double quality = 0;           // resolved part
};
// kUsage names the figure that can't be.
Result<HumanEquivalent> human_equivalent(const HumanWork& human, const MachineWork& machine);

}  // namespace farthing
