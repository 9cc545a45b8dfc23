#include "econ/human.h"

#include <cmath>

namespace farthing {
namespace {

Status in_range(const char* name, double value, double least, bool or_equal, double most) {
  if (std::isfinite(value) && (value > least || (or_equal && value == least)) && value <= most)
    return {};
  return usage_error("{} = {}: must be {} {}{}",
                     name,
                     value,
                     or_equal ? "at least" : "above",
                     least,
                     most < 1e300 ? fmt::format(" and at most {}", most) : "");
}

}  // namespace

RequestPrice cost_per_query(const HumanWork& human) {
  return human.salary / (human.queries * human.working_days);
}

Result<HumanEquivalent> human_equivalent(const HumanWork& human, const MachineWork& machine) {
  constexpr double kAny = 1e300;
  FARTHING_TRY_VOID(in_range("human.salary", human.salary.value, 0, true, kAny));
  FARTHING_TRY_VOID(in_range("human.queries", human.queries.value, 0, false, kAny));
  FARTHING_TRY_VOID(in_range("human.working_days", human.working_days, 0, false, 1));
  FARTHING_TRY_VOID(in_range("traffic.queries", machine.queries.value, 0, false, kAny));
  FARTHING_TRY_VOID(in_range("cost per query", machine.cost.value, 0, false, kAny));
  FARTHING_TRY_VOID(in_range("review", machine.review.value, 0, true, kAny));
  FARTHING_TRY_VOID(in_range("acceptance", machine.acceptance, 0, true, 1));
  FARTHING_TRY_VOID(in_range("escalation", machine.escalation, 0, true, 1));
  const RequestPrice person = cost_per_query(human);
  HumanEquivalent result;
  result.throughput_ratio = machine.queries / (human.queries * People{1});
  result.quality = machine.resolved();
  result.replaced = machine.queries * result.quality / (human.queries * human.working_days);
  result.naive_cost_ratio = person / machine.cost;
  result.resolved_cost = machine.cost + machine.review + person * (1 - result.quality);
  result.cost_ratio = person / result.resolved_cost;
  return result;
}

}  // namespace farthing
