// A scenario: every input that the money verbs know, as figures with unit, bounds and source, read
// from TOML. Form: docs/economics.md; the inputs are a table, scenario_inputs(). Errors are
// kBadInput (a file's) or kUsage (a flag's), name the line or the flag, and show the right form.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "econ/human.h"
#include "econ/token_cost.h"
#include "econ/uncertainty.h"
#include "econ/unit_text.h"

namespace farthing {

// What may be given.
struct InputSpec {
  std::string_view key;  // "traffic.queries"
  Dim dim;
  double least = 0, most = 1e300;  // in the unit of `form`
  bool above_least = false;        // `least` itself may not be
  std::string_view form;           // a right value, which also gives the unit to show
  std::string_view what;
};
std::span<const InputSpec> scenario_inputs();

// A number with all that makes it more than a number.
struct Figure {
  const InputSpec* spec = nullptr;
  double value = 0, low = 0, high = 0;  // base units
  Shape shape = Shape::kFixed;
  std::optional<Basis> basis;  // of a price
  std::string source, date;
  std::string where;  // "toast.toml:12", "--set traffic.queries"
};

struct DatedPrice {
  double year = 0;
  TokenPrice price;
  std::string label, source;
};

class Scenario {
 public:
  // `name` stands for the file in errors.
  static Result<Scenario> parse(std::string_view toml, const std::string& name);

  // "traffic.queries=500000 query/day"; also KEY.low and KEY.high.
  Status set(std::string_view assignment);
  // What a program knows better than the file, in base units.
  void put(std::string_view key, double value, const std::string& where);
  // Forgets all inputs of a table.
  void drop_table(std::string_view table);
  // What must hold of all inputs together: bounds in order, one basis, inputs that exist.
  Status check() const;

  const std::string& name() const { return name_; }
  const std::string& title() const { return title_; }
  const std::string& about() const { return about_; }
  const std::string& currency() const { return currency_; }
  const std::vector<DatedPrice>& points() const { return points_; }

  std::span<const Figure> figures() const { return figures_; }
  const Figure* find(std::string_view key) const;
  bool has(std::string_view key) const { return find(key) != nullptr; }
  // Whether any input of a table ("machine") is given.
  bool has_table(std::string_view table) const;

  // The value of an input; it must be of Q's dimension in the table of inputs.
  template <class Q>
  std::optional<Q> get(std::string_view key) const {
    const Figure* figure = find(key);
    if (!figure) return std::nullopt;
    CHECK(figure->spec->dim == Q::kDim);
    return Q::of_base_units(figure->value);
  }
  template <class Q>
  Result<Q> need(std::string_view key) const {
    if (const std::optional<Q> value = get<Q>(key)) return *value;
    return missing(key);
  }
  double number(std::string_view key, double otherwise) const;
  // kBadInput that shows what to write.
  Error missing(std::string_view key) const;

  // Those with bounds, in the order of the file, for econ/uncertainty.h; and the scenario with
  // other values for them.
  std::vector<Uncertain> uncertain() const;
  Result<std::vector<RankCorrelation>> correlations() const;  // of uncertain()
  void assign(const std::vector<double>& values);             // of uncertain(); kept within
                                                              // what the inputs may be
  void assign(std::string_view key, double value);

  // The unit that the input's form has; numbers in it; "500000 query/day".
  std::string unit(const Figure& figure) const;
  double in_form_unit(const Figure& figure, double value) const;
  std::string shown(const Figure& figure, double value) const;
  // FNV-1a of all inputs: equal if they are.
  uint64_t hash() const;

 private:
  struct Correlation {
    std::string a, b;
    double rank = 0;
    std::string where;
  };
  friend class ScenarioReader;

  std::string name_, title_, about_;
  std::string currency_ = "USD";
  std::vector<Figure> figures_;
  std::vector<DatedPrice> points_;
  std::vector<Correlation> correlations_;
};

}  // namespace farthing
