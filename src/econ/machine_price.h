// What a machine costs while it waits and while it works, rented or owned. Pure.
#pragma once

#include <string>

#include "base/result.h"
#include "econ/units.h"

namespace farthing {

struct MachinePrice {
  std::string currency = "USD";  // three capital letters, as ISO 4217 has them
  MoneyRate idle;
  MoneyRate busy;
  Watts idle_power;  // 0: not known
  Watts busy_power;
};

// Total cost of ownership: the purchase less the present value of what is left at the end, paid as
// an annuity over its life (econ/finance.h), electricity, and what else it costs a year.
struct Ownership {
  Money purchase;
  double years = 0;
  double discount_rate = 0;  // a year; 0.08 is 8 %
  double residual = 0;       // part of the purchase that it is sold for after its years
  MoneyRate other;           // staff, space, network, licences
  double availability = 1;   // part of the hours that it can work
  Watts idle_power;
  Watts busy_power;
  EnergyPrice electricity;
  double pue = 1;  // energy of the whole room per energy of the machine, >= 1
};

// kUsage names the figure that can't be.
Result<MachinePrice> rented(const std::string& currency, MoneyRate rate);
Result<MachinePrice> owned(const std::string& currency, const Ownership& machine);

}  // namespace farthing
