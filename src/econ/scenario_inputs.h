// What scenarios may hold: the table of inputs behind scenario_inputs(), and how one is written,
// read and asked for. Used by scenario*.cc alone.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "econ/scenario.h"

namespace farthing {

const InputSpec* find_input(std::string_view key);  // null: there is none
// "there is no input X", with the nearest of the inputs and `more` names.
std::string no_such_input(std::string_view key, std::vector<std::string> more = {});

bool is_price(const InputSpec& spec);

// Forms are written in USD.
std::string in_currency(std::string_view form, std::string_view currency);
// The unit of the form; empty: a plain number.
std::string unit_of(const InputSpec& spec, std::string_view currency);
// growth = "10 %/year"
std::string quoted_form(const InputSpec& spec, std::string_view currency);

// The number of base units that "NUMBER UNIT" is, or what is wrong with it.
Result<double> read_value(const InputSpec& spec, std::string_view text, std::string_view currency);

}  // namespace farthing
