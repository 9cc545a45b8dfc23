// What APIs ask for the same tokens, and from which volume on a machine of one's own is cheaper.
// The table: data/prices.toml, or a user's in the same form. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "econ/business_case.h"

namespace farthing {

struct ApiPrice {
  std::string name;
  TokenPrices prices;  // of the basis reserved
};
struct PriceTable {
  std::string source, date, currency;
  std::vector<ApiPrice> models;
};
// kBadInput names the line and shows the right form.
Result<PriceTable> parse_prices(std::string_view toml, const std::string& name);

// One API against machines.
struct Comparison {
  Money api;  // per query
  // Queries from which on the machines cost less: one machine's cost by the API's price if that is
  // within what one can answer (of its planned load). None: at no volume.
  std::optional<RequestRate> wins_from;
};
Comparison compare(const ApiPrice& api, const Fleet& fleet, double planned_utilisation);

}  // namespace farthing
