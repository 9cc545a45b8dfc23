// Who caused the machine's cost. Its busy time is charged to the requests that it worked for, the
// rest is idle: the sum of all requests' costs and of the idle time's is the machine's cost.
// Two bases, always named. used: the price of the busy time alone. reserved: the price of all the
// time, busy or not, over the tokens that it served; the one to compare with an API's price.
#pragma once

#include <optional>

#include "econ/machine_price.h"
#include "econ/units.h"

namespace farthing {

// Busy time of the machine.
struct BusyTime {
  Seconds prompt;      // computing prompts
  Seconds completion;  // computing the tokens after the first
  Seconds total() const { return prompt + completion; }
};

// One request, by what it used.
struct RequestCost {
  Money prompt;
  Money cached;  // of prompt tokens that were stored already: nothing is computed for them
  Money completion;
  Money total() const { return prompt + cached + completion; }
};
RequestCost cost_of(const MachinePrice& price, const BusyTime& busy);

// One machine since it began to serve.
struct Ledger {
  MachinePrice price;
  Seconds idle;
  BusyTime busy;  // of all requests
  Tokens prompt;  // served, whether computed or stored
  Tokens completion;

  Money idle_cost() const { return price.idle * idle; }
  RequestCost used_cost() const { return cost_of(price, busy); }
  Money machine_cost() const { return used_cost().total() + idle_cost(); }
  // With the machine's power, which the price knows or not.
  std::optional<Joules> energy() const;

  enum class Basis { kUsed, kReserved };
  enum class Count { kOutput, kTotal };  // tokens that share the cost
  // None before the first token.
  std::optional<TokenPrice> token_price(Basis basis, Count count) const;
};

}  // namespace farthing
