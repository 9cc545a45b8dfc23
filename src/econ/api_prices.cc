#include "econ/api_prices.h"

#include <algorithm>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "base/utf8.h"

namespace farthing {
namespace {

constexpr size_t kMostModels = 10000;
constexpr std::string_view kForm =
    R"(each [[model]] needs name, input = "0.15 USD/input_Mtok" and output = "0.6 USD/output_Mtok" (and may have cached = "0.075 USD/cached_Mtok" and provider))";

template <class Price>
Result<Price> read_price(const toml::node& node,
                         std::string_view key,
                         const std::string& currency) {
  if (!node.is_string()) return bad_input("{} has no unit; {}", key, kForm);
  FARTHING_TRY(const Amount amount, parse_amount(node.value_or(std::string_view()), currency));
  if (amount.dim != Price::kDim)
    return bad_input("{} must be in {}; {}", key, dim_name(Price::kDim, currency), kForm);
  if (!(amount.value >= 0)) return bad_input("{} is negative; {}", key, kForm);
  return Price::of_base_units(amount.value);
}

Result<ApiPrice> read_model(const toml::table& table, const std::string& currency) {
  ApiPrice model;
  bool has_input = false, has_output = false, has_cached = false;
  for (const auto& [key, node] : table) {
    const std::string_view name = key.str();
    if (name == "name" && node.is_string()) {
      model.name = node.value_or(std::string());
    } else if (name == "input") {
      FARTHING_TRY(model.prices.input, read_price<InputPrice>(node, name, currency));
      has_input = true;
    } else if (name == "cached") {
      FARTHING_TRY(model.prices.cached, read_price<CachedPrice>(node, name, currency));
      has_cached = true;
    } else if (name == "output") {
      FARTHING_TRY(model.prices.output, read_price<OutputPrice>(node, name, currency));
      has_output = true;
    } else if (name != "provider") {
      return bad_input("{} can't be here; {}", printable(name), kForm);
    }
  }
  if (model.name.empty() || !has_input || !has_output) return bad_input("{}", kForm);
  if (!has_cached) model.prices.cached = CachedPrice::of_base_units(model.prices.input.value);
  return model;
}

}  // namespace

Result<PriceTable> parse_prices(std::string_view toml, const std::string& name) {
  if (!is_utf8(toml)) return bad_input("{}: isn't text (UTF-8)", name);
  const toml::parse_result parsed = toml::parse(toml);
  if (!parsed) {
    return bad_input(
        "{}:{}: {}", name, parsed.error().source().begin.line, parsed.error().description());
  }
  const toml::table& root = parsed.table();
  for (const auto& [key, node] : root) {
    const std::string_view known[] = {"source", "date", "currency", "model"};
    if (std::ranges::find(known, key.str()) == std::end(known)) {
      return bad_input("{}:{}: there is no key {}; {}",
                       name,
                       node.source().begin.line,
                       printable(key.str()),
                       kForm);
    }
  }
  PriceTable table{.source = root["source"].value_or(std::string()),
                   .date = root["date"].value_or(std::string()),
                   .currency = root["currency"].value_or(std::string("USD"))};
  const toml::array* models = root["model"].as_array();
  if (!models || models->empty() || !models->is_array_of_tables())
    return bad_input("{}: has no [[model]]; {}", name, kForm);
  if (models->size() > kMostModels)
    return bad_input("{}: {} models are too many", name, models->size());
  for (const toml::node& node : *models) {
    Result<ApiPrice> model = read_model(*node.as_table(), table.currency);
    if (!model)
      return std::move(model).error().in(fmt::format("{}:{}", name, node.source().begin.line));
    table.models.push_back(*std::move(model));
  }
  return table;
}

Comparison compare(const ApiPrice& api, const Fleet& fleet, double planned_utilisation) {
  Comparison result{.api = cost_of(api.prices, fleet.query)};
  if (!(result.api > Money{})) return result;
  // One machine at a load u costs idle + (busy - idle) u a second and answers u * one: it breaks
  // even at idle / (one * api - (busy - idle)).
  const MachinePrice& price = fleet.machine.price;
  const MoneyRate earned = fleet.one * (result.api / Requests{1}) - (price.busy - price.idle);
  if (!(earned > MoneyRate{})) return result;
  const double load = price.idle / earned;
  if (load <= planned_utilisation) result.wins_from = fleet.one * load;
  return result;
}

}  // namespace farthing
