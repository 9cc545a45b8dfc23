// Figures in words: "0.002 USD/ktok", "500000 query/day", "8 %". Does not know: what a figure is
// for. Invariant: the number is finite, the unit is known, and both are kept apart no longer.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "econ/units.h"

namespace farthing {

// A number in base units with its dimension: a Quantity whose unit is known only when it is read.
struct Amount {
  double value = 0;
  Dim dim;
};

// A unit: how many base units it has, and of what.
//   money    USD EUR ... (three capital letters; `currency` is the one of all figures)
//   time     ms s min h day week month year     energy  J kWh MWh     power  W kW MW
//   tokens   tok ktok Mtok, input_tok cached_tok output_tok and their k and M
//   work     query (request, task)           people  person (user, FTE)
//   numbers  % x (or nothing)                joined by / and *, from left to right:
//   USD/person/month
Result<Amount> parse_unit(std::string_view unit, std::string_view currency);

// "NUMBER UNIT"; the number is as C has it, with _ between digits if wanted.
Result<Amount> parse_amount(std::string_view text, std::string_view currency);

// The number in the unit; both are of one dimension, and the unit is known.
double in_unit(Amount amount, std::string_view unit, std::string_view currency);

// What a dimension is called in messages: "USD/query", in base units.
std::string dim_name(Dim dim, std::string_view currency);

}  // namespace farthing
