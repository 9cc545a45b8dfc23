#include "econ/machine_price.h"

#include <algorithm>
#include <cmath>

#include "econ/finance.h"

namespace farthing {
namespace {

Status check_currency(const std::string& currency) {
  const auto capital = [](char c) { return c >= 'A' && c <= 'Z'; };
  if (currency.size() == 3 && std::ranges::all_of(currency, capital)) return {};
  return usage_error("currency \"{}\": give the three capital letters, like USD or EUR", currency);
}

Status check_amount(const char* name, double value) {
  if (std::isfinite(value) && value >= 0) return {};
  return usage_error("{} = {}: must be a number that isn't negative", name, value);
}

}  // namespace

Result<MachinePrice> rented(const std::string& currency, MoneyRate rate) {
  FARTHING_TRY_VOID(check_currency(currency));
  FARTHING_TRY_VOID(check_amount("per_hour", (rate * hours(1)).value));
  return MachinePrice{.currency = currency, .idle = rate, .busy = rate};
}

Result<MachinePrice> owned(const std::string& currency, const Ownership& machine) {
  FARTHING_TRY_VOID(check_currency(currency));
  FARTHING_TRY_VOID(check_amount("purchase", machine.purchase.value));
  FARTHING_TRY_VOID(check_amount("discount_rate", machine.discount_rate));
  FARTHING_TRY_VOID(check_amount("watts_idle", machine.idle_power.value));
  FARTHING_TRY_VOID(check_amount("watts_busy", machine.busy_power.value));
  FARTHING_TRY_VOID(check_amount("price_per_kwh", (machine.electricity * kilowatt_hours(1)).value));
  FARTHING_TRY_VOID(check_amount("other", (machine.other * years(1)).value));
  if (!std::isfinite(machine.years) || machine.years <= 0)
    return usage_error("years = {}: must be more than 0", machine.years);
  if (!std::isfinite(machine.pue) || machine.pue < 1)
    return usage_error("pue = {}: must be at least 1 (1: nothing is lost around the machine)",
                       machine.pue);
  if (!(machine.residual >= 0 && machine.residual <= 1))
    return usage_error("residual = {}: must be from 0 to 1 (of the purchase)", machine.residual);
  if (!(machine.availability > 0 && machine.availability <= 1))
    return usage_error("availability = {}: must be above 0 and at most 1", machine.availability);
  const double r = machine.discount_rate;
  const Money paid = machine.purchase * (1 - machine.residual * std::pow(1 + r, -machine.years));
  const MoneyRate capital = per_year(paid * capital_recovery_factor(r, machine.years));
  const auto with_power = [&](Watts power) {
    return (capital + machine.other) / machine.availability +
           power * machine.pue * machine.electricity;
  };
  return MachinePrice{.currency = currency,
                      .idle = with_power(machine.idle_power),
                      .busy = with_power(machine.busy_power),
                      .idle_power = machine.idle_power,
                      .busy_power = machine.busy_power};
}

}  // namespace farthing
