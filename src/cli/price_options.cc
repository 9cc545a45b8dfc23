#include "cli/price_options.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "base/mapped_file.h"

namespace farthing {
namespace {

constexpr size_t kMostPriceBytes = 1 << 16;
constexpr std::string_view kForms =
    "give currency and either per_hour, or purchase and years (and discount_rate, watts_idle, "
    "watts_busy, price_per_kwh, pue)";

struct Key {
  std::string_view name;
  bool of_rented = false;
  bool of_owned = false;
};
constexpr std::array kKeys = {Key{"currency", true, true},
                              Key{"per_hour", true, false},
                              Key{"watts_idle", true, true},
                              Key{"watts_busy", true, true},
                              Key{"purchase", false, true},
                              Key{"years", false, true},
                              Key{"discount_rate", false, true},
                              Key{"price_per_kwh", false, true},
                              Key{"pue", false, true}};

Status check_keys(const toml::table& table, const std::string& name, bool rented_form) {
  for (const auto& [key, node] : table) {
    const auto at = std::ranges::find(kKeys, key.str(), &Key::name);
    const auto line = node.source().begin.line;
    if (at == kKeys.end())
      return bad_input("{}:{}: there is no key {}; {}", name, line, key.str(), kForms);
    if (!(rented_form ? at->of_rented : at->of_owned)) {
      return bad_input("{}:{}: {} and {} exclude each other; {}",
                       name,
                       line,
                       key.str(),
                       rented_form ? "per_hour" : "purchase",
                       kForms);
    }
    const bool fits = key.str() == "currency" ? node.is_string() : node.is_number();
    if (!fits) {
      return bad_input("{}:{}: {} must be a {}",
                       name,
                       line,
                       key.str(),
                       key.str() == "currency" ? "string, like \"USD\"" : "number without quotes");
    }
  }
  return {};
}

}  // namespace

void add_price_options(CLI::App& verb, PriceOptions& options) {
  verb.add_option("--price-per-hour", options.per_hour, "What an hour of this machine costs")
      ->type_name("X");
  verb.add_option("--currency", options.currency, "Of --price-per-hour")
      ->type_name("CODE")
      ->capture_default_str();
  verb.add_option("--price-file",
                  options.file,
                  "TOML file with the machine's price: per_hour, or purchase, years and power")
      ->type_name("FILE");
}

Result<MachinePrice> parse_price(std::string_view toml, const std::string& name) {
  const toml::parse_result parsed = toml::parse(toml);
  if (!parsed) {
    return bad_input(
        "{}:{}: {}", name, parsed.error().source().begin.line, parsed.error().description());
  }
  const toml::table& table = parsed.table();
  const bool rented_form = table.contains("per_hour");
  FARTHING_TRY_VOID(check_keys(table, name, rented_form));
  const auto figure = [&](std::string_view key, double otherwise) {
    return table[key].value<double>().value_or(otherwise);
  };
  const std::string currency = table["currency"].value_or(std::string());
  if (currency.empty()) return bad_input("{}: there is no currency; {}", name, kForms);
  Result<MachinePrice> price = usage_error("there is no price; {}", kForms);
  if (rented_form) {
    price = rented(currency, per_hour(Money{figure("per_hour", 0)}));
    for (const char* key : {"watts_idle", "watts_busy"}) {
      if (const double watts = figure(key, 0); !std::isfinite(watts) || watts < 0)
        price = usage_error("{} = {}: must be a number that isn't negative", key, watts);
    }
    if (price) {
      price->idle_power = Watts{figure("watts_idle", 0)};
      price->busy_power = Watts{figure("watts_busy", 0)};
    }
  } else if (table.contains("purchase") && table.contains("years")) {
    price = owned(currency,
                  {.purchase = Money{figure("purchase", 0)},
                   .years = figure("years", 0),
                   .discount_rate = figure("discount_rate", 0),
                   .idle_power = Watts{figure("watts_idle", 0)},
                   .busy_power = Watts{figure("watts_busy", 0)},
                   .electricity = Money{figure("price_per_kwh", 0)} / kilowatt_hours(1),
                   .pue = figure("pue", 1)});
  }
  if (!price) return bad_input("{}: {}", name, price.error().message);
  return price;
}

Result<std::optional<MachinePrice>> read_price(const PriceOptions& options) {
  if (!options.file.empty() && options.per_hour)
    return usage_error("--price-per-hour and --price-file exclude each other: give one");
  if (!options.file.empty()) {
    FARTHING_TRY(const std::string text, read_file(options.file, kMostPriceBytes));
    FARTHING_TRY(MachinePrice price, parse_price(text, options.file));
    return std::optional(std::move(price));
  }
  if (!options.per_hour) return std::optional<MachinePrice>();
  auto price = rented(options.currency, per_hour(Money{*options.per_hour}));
  if (!price) return usage_error("--price-per-hour, --currency: {}", price.error().message);
  return std::optional(*std::move(price));
}

}  // namespace farthing
