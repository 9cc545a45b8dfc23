// Formulas in text, over figures with units: "requests * tokens * price * time". Sums of different
// dimensions are errors, so a formula whose unit comes out right has its units right. For the
// audit's rows (econ/audit.h), whose formulas are data.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "econ/unit_text.h"

namespace farthing {

// + - * / and parentheses over numbers, names, and functions of econ/:
//   yearly_growth(factor, time)  elasticity(price, quantity)  spend_factor(price, elasticity)
//   needed_quantity(price, spend)  power(x, exponent)  fall(factor): 1 - 1/factor
//   roi, npv, irr, payback(investment, benefit, running, horizon, rate)
//   human_cost(salary, queries, working_days)
Result<Amount> evaluate(std::string_view formula, const std::map<std::string, Amount>& names);

}  // namespace farthing
