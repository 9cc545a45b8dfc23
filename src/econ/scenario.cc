#include "econ/scenario.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "base/utf8.h"
#include "econ/scenario_inputs.h"

namespace farthing {

Status Scenario::set(std::string_view assignment) {
  const size_t equals = assignment.find('=');
  if (equals == assignment.npos || equals == 0) {
    return usage_error(
        "--set {}: write --set KEY=VALUE, like --set \"traffic.queries=500000 query/day\"",
        printable(assignment));
  }
  std::string_view key = assignment.substr(0, equals);
  std::string_view text = assignment.substr(equals + 1);
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"')
    text = text.substr(1, text.size() - 2);
  std::string_view bound;
  for (const std::string_view suffix : {".low", ".high"}) {
    if (!key.ends_with(suffix)) continue;
    bound = suffix;
    key.remove_suffix(suffix.size());
  }
  const InputSpec* spec = find_input(key);
  if (!spec) return usage_error("--set: {}", no_such_input(key));
  const Result<double> value = read_value(*spec, text, currency_);
  if (!value) return usage_error("--set: {}", value.error().message);
  auto figure = std::ranges::find(figures_, spec, &Figure::spec);
  if (figure == figures_.end()) {
    if (!bound.empty())
      return usage_error("--set {}: give {} itself first", assignment.substr(0, equals), key);
    put(key, *value, "--set");
    return {};
  }
  if (bound == ".low" || bound == ".high") {
    (bound == ".low" ? figure->low : figure->high) = *value;
    if (figure->shape == Shape::kFixed) figure->shape = Shape::kPert;
    figure->where = fmt::format("--set {}", assignment.substr(0, equals));
    return {};
  }
  // A value outside the old bounds has none.
  figure->value = *value;
  if (figure->shape == Shape::kFixed || *value < figure->low || *value > figure->high) {
    figure->low = figure->high = *value;
    figure->shape = Shape::kFixed;
  }
  figure->where = fmt::format("--set {}", key);
  figure->source = "given by --set";
  return {};
}

void Scenario::put(std::string_view key, double value, const std::string& where) {
  const InputSpec* spec = find_input(key);
  CHECK(spec != nullptr);
  std::erase_if(figures_, [&](const Figure& f) { return f.spec == spec; });
  figures_.push_back(
      {.spec = spec, .value = value, .low = value, .high = value, .source = where, .where = where});
  std::ranges::stable_sort(figures_, {}, [](const Figure& f) { return f.spec; });
}

void Scenario::drop_table(std::string_view table) {
  std::erase_if(figures_, [&](const Figure& f) {
    return f.spec->key.substr(0, f.spec->key.find('.')) == table;
  });
}

Status Scenario::check() const {
  for (const Figure& f : figures_) {
    if (f.shape == Shape::kFixed) continue;
    if (!(f.low <= f.value && f.value <= f.high) || f.low == f.high) {
      return bad_input("{}: {} must lie between its low and high: {} <= {} <= {} doesn't hold",
                       f.where,
                       f.spec->key,
                       shown(f, f.low),
                       shown(f, f.value),
                       shown(f, f.high));
    }
    if (f.shape == Shape::kLognormal && !(f.low > 0))
      return bad_input("{}: {} is lognormal: its low must be more than zero", f.where, f.spec->key);
  }
  // Prices that are compared must be of one basis, stated or not: an API's is reserved.
  const Figure* other = nullptr;
  for (const Figure& f : figures_) {
    if (!is_price(*f.spec)) continue;
    if (other && other->basis.value_or(Basis::kReserved) != f.basis.value_or(Basis::kReserved)) {
      return bad_input(
          "{}: mixed basis: {} is {}, but {} ({}) is {}; give both as basis = \"reserved\" (idle "
          "time paid for, as APIs' prices are) or both as \"used\"",
          f.where,
          f.spec->key,
          basis_name(f.basis.value_or(Basis::kReserved)),
          other->spec->key,
          other->where,
          basis_name(other->basis.value_or(Basis::kReserved)));
    }
    other = &f;
  }
  return correlations().has_value() ? Status() : Status(correlations().error());
}

const Figure* Scenario::find(std::string_view key) const {
  const auto at =
      std::ranges::find_if(figures_, [&](const Figure& f) { return f.spec->key == key; });
  if (at != figures_.end()) return &*at;
  CHECK(find_input(key) != nullptr);  // a name that nobody can give
  return nullptr;
}

bool Scenario::has_table(std::string_view table) const {
  return std::ranges::any_of(figures_, [&](const Figure& f) {
    return f.spec->key.starts_with(table) && f.spec->key[table.size()] == '.';
  });
}

double Scenario::number(std::string_view key, double otherwise) const {
  const Figure* figure = find(key);
  return figure ? figure->value : otherwise;
}

Error Scenario::missing(std::string_view key) const {
  const InputSpec* spec = find_input(key);
  CHECK(spec != nullptr);
  const std::string_view table = key.substr(0, key.find('.'));
  return bad_input("{}: {} is missing: write {} in [{}], or --set \"{}={}\"",
                   name_,
                   key,
                   quoted_form(*spec, currency_),
                   table,
                   key,
                   in_currency(spec->form, currency_));
}

std::vector<Uncertain> Scenario::uncertain() const {
  std::vector<Uncertain> list;
  for (const Figure& f : figures_) {
    if (f.shape == Shape::kFixed) continue;
    list.push_back({.name = std::string(f.spec->key),
                    .low = f.low,
                    .value = f.value,
                    .high = f.high,
                    .shape = f.shape});
  }
  return list;
}

Result<std::vector<RankCorrelation>> Scenario::correlations() const {
  const std::vector<Uncertain> inputs = uncertain();
  std::vector<RankCorrelation> list;
  for (const Correlation& c : correlations_) {
    const auto a = std::ranges::find(inputs, c.a, &Uncertain::name);
    const auto b = std::ranges::find(inputs, c.b, &Uncertain::name);
    for (const std::string& key : {c.a, c.b}) {
      if (!find_input(key)) return bad_input("{}: {}", c.where, no_such_input(key));
    }
    if (a == b) return bad_input("{}: {} can't be correlated with itself", c.where, c.a);
    if (a == inputs.end() || b == inputs.end()) continue;  // fixed by --set: nothing to correlate
    list.push_back({.a = static_cast<size_t>(a - inputs.begin()),
                    .b = static_cast<size_t>(b - inputs.begin()),
                    .rank = c.rank});
  }
  return list;
}

void Scenario::assign(const std::vector<double>& values) {
  size_t i = 0;
  for (Figure& f : figures_) {
    if (f.shape == Shape::kFixed) continue;
    assign(f.spec->key, values[i++]);
  }
}

void Scenario::assign(std::string_view key, double value) {
  for (Figure& f : figures_) {
    if (f.spec->key != key) continue;
    const double scale = 1 / in_form_unit(f, 1);  // base units of one as the form counts
    f.value = std::clamp(value, f.spec->least * scale, f.spec->most * scale);
  }
}

std::string Scenario::unit(const Figure& figure) const {
  return unit_of(*figure.spec, currency_);
}

double Scenario::in_form_unit(const Figure& figure, double value) const {
  return in_unit({value, figure.spec->dim}, unit(figure), currency_);
}

std::string Scenario::shown(const Figure& figure, double value) const {
  const std::string name = unit(figure);
  return fmt::format("{:.6g}{}{}", in_form_unit(figure, value), name.empty() ? "" : " ", name);
}

uint64_t Scenario::hash() const {
  uint64_t hash = 0xCBF29CE484222325ULL;
  const auto add = [&](std::string_view bytes) {
    for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  };
  const auto add_number = [&](double x) {
    const auto bits = std::bit_cast<std::array<char, sizeof(x)>>(x);
    add({bits.data(), bits.size()});
  };
  add(currency_);
  for (const Figure& f : figures_) {
    add(f.spec->key);
    for (const double x : {f.value, f.low, f.high, static_cast<double>(f.shape)}) add_number(x);
    add(basis_name(f.basis.value_or(Basis::kReserved)));
  }
  for (const DatedPrice& p : points_) {
    add_number(p.year);
    add_number(p.price.value);
  }
  for (const Correlation& c : correlations_) {
    add(c.a);
    add(c.b);
    add_number(c.rank);
  }
  return hash;
}

}  // namespace farthing
