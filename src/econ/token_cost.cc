#include "econ/token_cost.h"

#include <cmath>

namespace farthing {

std::string_view basis_name(Basis basis) {
  return basis == Basis::kUsed ? "used" : "reserved";
}

Money cost_of(const TokenPrices& prices, const QueryTokens& query) {
  return prices.input * query.input + prices.cached * query.cached + prices.output * query.output;
}

Status check_machine(const WorkingMachine& machine) {
  const auto above_zero = [](double x) { return std::isfinite(x) && x > 0; };
  if (!above_zero(machine.prefill.value))
    return usage_error("prefill = {} tok/s: must be above 0", machine.prefill.value);
  if (!above_zero(machine.decode.value))
    return usage_error("decode = {} tok/s: must be above 0", machine.decode.value);
  if (!above_zero(machine.utilisation) || machine.utilisation > 1)
    return usage_error("utilisation = {}: must be above 0 and at most 1 (100 %)",
                       machine.utilisation);
  return {};
}

MoneyRate rate_of(const WorkingMachine& machine) {
  return machine.price.busy * machine.utilisation + machine.price.idle * (1 - machine.utilisation);
}

TokenPrices token_prices(const WorkingMachine& machine, Basis basis) {
  const MoneyRate busy_second =
      basis == Basis::kUsed ? machine.price.busy : rate_of(machine) / machine.utilisation;
  return {.input = busy_second / machine.prefill, .output = busy_second / machine.decode};
}

Seconds busy_time(const WorkingMachine& machine, const QueryTokens& query) {
  return query.input / machine.prefill + query.output / machine.decode;
}

RequestRate capacity(const WorkingMachine& machine, const QueryTokens& query) {
  return Requests{1} / busy_time(machine, query);
}

}  // namespace farthing
