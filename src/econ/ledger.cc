#include "econ/ledger.h"

namespace farthing {

RequestCost cost_of(const MachinePrice& price, const BusyTime& busy) {
  return {.prompt = price.busy * busy.prompt, .completion = price.busy * busy.completion};
}

std::optional<Joules> Ledger::energy() const {
  if (price.busy_power <= Watts{}) return std::nullopt;
  return price.idle_power * idle + price.busy_power * busy.total();
}

std::optional<TokenPrice> Ledger::token_price(Basis basis, Count count) const {
  const Tokens tokens = count == Count::kOutput ? completion : prompt + completion;
  if (tokens <= Tokens{}) return std::nullopt;
  return (basis == Basis::kUsed ? used_cost().total() : machine_cost()) / tokens;
}

}  // namespace farthing
