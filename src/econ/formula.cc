#include "econ/formula.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <span>
#include <vector>

#include "base/utf8.h"
#include "econ/finance.h"
#include "econ/human.h"
#include "econ/market.h"

namespace farthing {
namespace {

constexpr int kMostDepth = 50;

using Arguments = std::span<const Amount>;

Result<Project> project_of(Arguments a) {
  const std::array dims = {
      Money::kDim, MoneyRate::kDim, MoneyRate::kDim, Seconds::kDim, PerYear::kDim};
  for (size_t i = 0; i < dims.size(); ++i) {
    if (a[i].dim != dims[i])
      return bad_input("argument {} of a project is in {}", i + 1, dim_name(a[i].dim, "USD"));
  }
  return Project{.investment = Money{a[0].value},
                 .benefit = MoneyRate::of_base_units(a[1].value),
                 .running = MoneyRate::of_base_units(a[2].value),
                 .horizon = Seconds{a[3].value},
                 .discount_rate = PerYear::of_base_units(a[4].value) * years(1)};
}

template <class Get>
Result<Amount> of_project(Arguments a, const Get& get) {
  FARTHING_TRY(const Project project, project_of(a));
  FARTHING_TRY(const Returns returns, returns_of(project));
  return get(returns);
}

Result<Amount> number_or(const std::optional<double>& value, const char* what) {
  if (!value) return bad_input("there is no {}", what);
  return Amount{*value, {}};
}

struct Function {
  std::string_view name;
  size_t n_arguments;
  bool of_numbers;  // all arguments must be without unit
  Result<Amount> (*call)(Arguments);
};

const std::array kFunctions = {
    Function{"yearly_growth",
             2,
             false,
             [](Arguments a) -> Result<Amount> {
               if (a[0].dim != Dim{} || a[1].dim != Seconds::kDim)
                 return bad_input("yearly_growth takes a factor and a time");
               return Amount{yearly_growth(a[0].value, in_years(Seconds{a[1].value})), {}};
             }},
    Function{"elasticity",
             2,
             true,
             [](Arguments a) -> Result<Amount> {
               return Amount{elasticity(a[0].value, a[1].value), {}};
             }},
    Function{"spend_factor",
             2,
             true,
             [](Arguments a) -> Result<Amount> {
               return Amount{spend_factor(a[0].value, a[1].value), {}};
             }},
    Function{"needed_quantity",
             2,
             true,
             [](Arguments a) -> Result<Amount> {
               return Amount{needed_quantity_factor(a[0].value, a[1].value), {}};
             }},
    Function{
        "power",
        2,
        true,
        [](Arguments a) -> Result<Amount> { return Amount{std::pow(a[0].value, a[1].value), {}}; }},
    Function{"fall",
             1,
             true,
             [](Arguments a) -> Result<Amount> { return Amount{1 - 1 / a[0].value, {}}; }},
    Function{"roi",
             5,
             false,
             [](Arguments a) {
               return of_project(a, [](const Returns& r) { return number_or(r.roi, "ROI"); });
             }},
    Function{"irr",
             5,
             false,
             [](Arguments a) {
               return of_project(a, [](const Returns& r) { return number_or(r.irr, "IRR"); });
             }},
    Function{"npv",
             5,
             false,
             [](Arguments a) {
               return of_project(a, [](const Returns& r) -> Result<Amount> {
                 return Amount{r.npv.value, Money::kDim};
               });
             }},
    Function{"payback",
             5,
             false,
             [](Arguments a) {
               return of_project(a, [](const Returns& r) -> Result<Amount> {
                 if (!r.payback) return bad_input("it isn't paid back within the horizon");
                 return Amount{r.payback->value, Seconds::kDim};
               });
             }},
    Function{"human_cost",
             3,
             false,
             [](Arguments a) -> Result<Amount> {
               if (a[0].dim != Salary::kDim || a[1].dim != WorkRate::kDim || a[2].dim != Dim{})
                 return bad_input("human_cost takes a salary, queries and working days");
               const RequestPrice price =
                   cost_per_query({.salary = Salary::of_base_units(a[0].value),
                                   .queries = WorkRate::of_base_units(a[1].value),
                                   .working_days = a[2].value});
               return Amount{price.value, RequestPrice::kDim};
             }},
};

// Recursive descent; each function takes what it names off the front of rest_.
class Evaluator {
 public:
  Evaluator(std::string_view text, const std::map<std::string, Amount>& names)
      : rest_(text), names_(names) {}

  Result<Amount> all() {
    FARTHING_TRY(const Amount value, sum());
    if (peek() != '\0') return bad_input("\"{}\" is left over", printable(rest_));
    return value;
  }

 private:
  char peek() {
    while (!rest_.empty() && rest_.front() == ' ') rest_.remove_prefix(1);
    return rest_.empty() ? '\0' : rest_.front();
  }
  char take() {
    const char c = peek();
    if (c != '\0') rest_.remove_prefix(1);
    return c;
  }

  Result<Amount> sum() {
    FARTHING_TRY(Amount left, product());
    while (peek() == '+' || peek() == '-') {
      const double sign = take() == '+' ? 1 : -1;
      FARTHING_TRY(const Amount right, product());
      if (left.dim != right.dim)
        return bad_input(
            "{} and {} don't add up", dim_name(left.dim, "USD"), dim_name(right.dim, "USD"));
      left.value += sign * right.value;
    }
    return left;
  }

  Result<Amount> product() {
    FARTHING_TRY(Amount left, factor());
    while (peek() == '*' || peek() == '/') {
      const bool divide = take() == '/';
      FARTHING_TRY(const Amount right, factor());
      left.value = divide ? left.value / right.value : left.value * right.value;
      left.dim = divide ? left.dim - right.dim : left.dim + right.dim;
    }
    return left;
  }

  Result<Amount> factor() {
    if (++depth_ > kMostDepth) return bad_input("the formula is too deep");
    Result<Amount> value = inner();
    --depth_;
    return value;
  }

  Result<Amount> inner() {
    const char c = peek();
    if (c == '-') {
      take();
      FARTHING_TRY(const Amount value, factor());
      return Amount{-value.value, value.dim};
    }
    if (c == '(') {
      take();
      FARTHING_TRY(const Amount value, sum());
      if (take() != ')') return bad_input("a ) is missing");
      return value;
    }
    const auto is_name = [](char x) { return (x >= 'a' && x <= 'z') || x == '_'; };
    const auto is_number = [](char x) { return (x >= '0' && x <= '9') || x == '.'; };
    if (is_number(c)) {
      const std::string word = take_while(is_number);
      return Amount{std::strtod(word.c_str(), nullptr), {}};
    }
    if (!is_name(c)) return bad_input("\"{}\" begins no figure", printable(rest_));
    const std::string word =
        take_while([&](char x) { return is_name(x) || (x >= '0' && x <= '9'); });
    if (peek() == '(') return call(word);
    const auto at = names_.find(word);
    if (at == names_.end()) return bad_input("there is no input {}", word);
    return at->second;
  }

  template <class Is>
  std::string take_while(const Is& is) {
    const size_t end = static_cast<size_t>(std::ranges::find_if_not(rest_, is) - rest_.begin());
    std::string word(rest_.substr(0, end));
    rest_.remove_prefix(end);
    return word;
  }

  Result<Amount> call(const std::string& name) {
    const auto function = std::ranges::find(kFunctions, name, &Function::name);
    if (function == kFunctions.end()) return bad_input("there is no function {}", name);
    std::vector<Amount> arguments;
    do {
      take();  // ( or ,
      FARTHING_TRY(const Amount value, sum());
      arguments.push_back(value);
    } while (peek() == ',');
    if (take() != ')' || arguments.size() != function->n_arguments)
      return bad_input("{} takes {} arguments", name, function->n_arguments);
    if (function->of_numbers) {
      for (const Amount& a : arguments) {
        if (a.dim != Dim{}) return bad_input("{} takes numbers without unit", name);
      }
    }
    return function->call(arguments);
  }

  std::string_view rest_;
  const std::map<std::string, Amount>& names_;
  int depth_ = 0;
};

}  // namespace

Result<Amount> evaluate(std::string_view formula, const std::map<std::string, Amount>& names) {
  FARTHING_TRY(const Amount value, Evaluator(formula, names).all());
  if (!std::isfinite(value.value))
    return bad_input("{} comes to no finite number", printable(formula));
  return value;
}

}  // namespace farthing
