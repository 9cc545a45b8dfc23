// What an hour of the machine costs: --price-per-hour and --currency, or --price-file, a TOML file:
//
//   currency = "USD"
//   per_hour = 0.34            # rented; or, owned:
//   purchase = 4000            # in the currency
//   years = 4                  # of use
//   discount_rate = 0.08       # a year; default 0
//   watts_idle = 60            # default 0
//   watts_busy = 180
//   price_per_kwh = 0.30       # default 0
//   pue = 1.2                  # default 1
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "econ/machine_price.h"

namespace farthing {

struct PriceOptions {
  std::optional<double> per_hour;
  std::string currency = "USD";
  std::string file;
};

// `options` must outlive the verb.
void add_price_options(CLI::App& verb, PriceOptions& options);

// Nothing if no price was given. kUsage or kBadInput names the line at fault and the right form.
Result<std::optional<MachinePrice>> read_price(const PriceOptions& options);
// `name` stands for the file in errors.
Result<MachinePrice> parse_price(std::string_view toml, const std::string& name);

}  // namespace farthing
