#include "econ/scenario.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "base/nearest.h"
#include "base/utf8.h"

namespace farthing {
namespace {

constexpr size_t kMostPoints = 1000;
constexpr size_t kMostCorrelations = 100;
constexpr std::string_view kFigureForms =
    R"(a figure is "NUMBER UNIT", or {value = "...", low = "...", high = "...", shape = "pert|lognormal", basis = "reserved|used", source = "...", date = "..."})";

constexpr Dim kPerQuery = RequestPrice::kDim;
constexpr Dim kYearly = MoneyRate::kDim;
constexpr Dim kRatio = {};
constexpr bool kAbove = true;
constexpr double kAny = 1e300;

constexpr std::array kInputs = {
    InputSpec{
        "traffic.queries", RequestRate::kDim, 0, kAny, kAbove, "500000 query/day", "What is asked"},
    InputSpec{"traffic.growth",
              PerYear::kDim,
              -100,
              1000,
              false,
              "10 %/year",
              "Of the queries, from year to year"},
    InputSpec{"traffic.peak",
              kRatio,
              1,
              1000,
              false,
              "3 x",
              "Busiest hour by the mean; machines are bought for it"},
    InputSpec{"traffic.users", People::kDim, 0, kAny, kAbove, "10000 user", "Who ask"},
    InputSpec{"traffic.tokens",
              Tokens::kDim - Requests::kDim,
              0,
              1e9,
              false,
              "1000 tok/query",
              "All tokens of a query, where they cost alike"},
    InputSpec{"traffic.input_tokens",
              InputTokens::kDim - Requests::kDim,
              0,
              1e9,
              false,
              "800 input_tok/query",
              "Prompt tokens that must be computed"},
    InputSpec{"traffic.cached_tokens",
              CachedTokens::kDim - Requests::kDim,
              0,
              1e9,
              false,
              "200 cached_tok/query",
              "Prompt tokens that are stored already"},
    InputSpec{"traffic.output_tokens",
              OutputTokens::kDim - Requests::kDim,
              0,
              1e9,
              false,
              "200 output_tok/query",
              "Tokens of an answer"},

    InputSpec{"before.cost_per_query",
              kPerQuery,
              0,
              kAny,
              false,
              "2 USD/query",
              "What a query costs without the project"},
    InputSpec{
        "before.price", TokenPrice::kDim, 0, kAny, false, "0.002 USD/ktok", "Or: of any token"},
    InputSpec{"before.input_price",
              InputPrice::kDim,
              0,
              kAny,
              false,
              "2.5 USD/input_Mtok",
              "Or: by kind of token"},
    InputSpec{"before.cached_price", CachedPrice::kDim, 0, kAny, false, "1.25 USD/cached_Mtok", ""},
    InputSpec{"before.output_price", OutputPrice::kDim, 0, kAny, false, "10 USD/output_Mtok", ""},

    InputSpec{"after.cost_per_query",
              kPerQuery,
              0,
              kAny,
              false,
              "0.02 USD/query",
              "What a query costs with the project"},
    InputSpec{
        "after.price", TokenPrice::kDim, 0, kAny, false, "0.0002 USD/ktok", "Or: of any token"},
    InputSpec{"after.input_price",
              InputPrice::kDim,
              0,
              kAny,
              false,
              "0.15 USD/input_Mtok",
              "Or: by kind of token"},
    InputSpec{"after.cached_price", CachedPrice::kDim, 0, kAny, false, "0.075 USD/cached_Mtok", ""},
    InputSpec{"after.output_price", OutputPrice::kDim, 0, kAny, false, "0.6 USD/output_Mtok", ""},
    InputSpec{
        "after.saving", kRatio, 0, 100, false, "90 %", "Or: part of the cost before that is saved"},
    InputSpec{"after.review",
              kPerQuery,
              0,
              kAny,
              false,
              "0.05 USD/query",
              "A person's look at answers, spread over all"},
    InputSpec{"after.acceptance", kRatio, 0, 100, false, "90 %", "Answers that are right"},
    InputSpec{"after.escalation",
              kRatio,
              0,
              100,
              false,
              "30 %",
              "Queries passed on to what answered them before"},

    InputSpec{"human.salary",
              Salary::kDim,
              0,
              kAny,
              false,
              "8000 USD/person/month",
              "With all that comes on top"},
    InputSpec{"human.queries",
              WorkRate::kDim,
              0,
              kAny,
              kAbove,
              "75 query/person/day",
              "Of a working day"},
    InputSpec{
        "human.working_days", kRatio, 0, 30.4166666667, kAbove, "22 day/month", "Days at work"},

    InputSpec{"machine.rent",
              kYearly,
              0,
              kAny,
              false,
              "2.5 USD/h",
              "Of one machine; or else what it costs to own"},
    InputSpec{"machine.purchase", Money::kDim, 0, kAny, false, "12000 USD", ""},
    InputSpec{"machine.life", Seconds::kDim, 0, 100, kAbove, "4 year", "Of use"},
    InputSpec{"machine.discount_rate", PerYear::kDim, 0, 1000, false, "8 %/year", ""},
    InputSpec{"machine.residual", kRatio, 0, 100, false, "10 %", "Of the purchase, at the end"},
    InputSpec{
        "machine.availability", kRatio, 0, 100, kAbove, "98 %", "Part of the hours that it works"},
    InputSpec{"machine.idle_power", Watts::kDim, 0, kAny, false, "120 W", ""},
    InputSpec{"machine.busy_power", Watts::kDim, 0, kAny, false, "450 W", ""},
    InputSpec{
        "machine.pue", kRatio, 1, 10, false, "1.5 x", "Energy of the room by that of the machine"},
    InputSpec{"machine.electricity", EnergyPrice::kDim, 0, kAny, false, "0.12 USD/kWh", ""},
    InputSpec{"machine.other", kYearly, 0, kAny, false, "600 USD/year", "Space, network, licences"},
    InputSpec{
        "machine.staff", People::kDim, 0, kAny, false, "0.05 FTE", "Who keep one machine running"},
    InputSpec{"machine.staff_cost", Salary::kDim, 0, kAny, false, "120000 USD/FTE/year", ""},
    InputSpec{"machine.prefill",
              PrefillRate::kDim,
              0,
              kAny,
              kAbove,
              "4000 input_tok/s",
              "Prompts, while it does nothing else"},
    InputSpec{"machine.decode",
              DecodeRate::kDim,
              0,
              kAny,
              kAbove,
              "900 output_tok/s",
              "Answers, of all sequences together"},
    InputSpec{"machine.utilisation",
              kRatio,
              0,
              100,
              kAbove,
              "35 %",
              "Most mean load to plan for (default: 1 / traffic.peak)"},

    InputSpec{
        "project.investment", Money::kDim, 0, kAny, false, "500000 USD", "Paid at the beginning"},
    InputSpec{
        "project.running", kYearly, 0, kAny, false, "150000 USD/year", "What keeping it up costs"},
    InputSpec{"project.build", Seconds::kDim, 0, 1200, false, "2 month", "Before it is of use"},
    InputSpec{"project.horizon", Seconds::kDim, 0, 100, kAbove, "3 year", "Of use"},
    InputSpec{"project.discount_rate", PerYear::kDim, 0, 1000, false, "10 %/year", ""},

    InputSpec{"curve.factor",
              kRatio,
              0,
              1e6,
              kAbove,
              "3 x",
              "Prices fall by it each year (default: fitted to the points)"},
    InputSpec{"curve.until", kRatio, 1900, 2200, false, "2030", "Last year"},

    InputSpec{"market.from", kRatio, 1900, 2200, false, "2023", "Base year"},
    InputSpec{"market.until", kRatio, 1900, 2200, false, "2030", "Last year"},
    InputSpec{"market.training_from",
              kYearly,
              0,
              kAny,
              kAbove,
              "100e9 USD/year",
              "Spent on training in the base year"},
    InputSpec{"market.training_until",
              kYearly,
              0,
              kAny,
              kAbove,
              "250e9 USD/year",
              "And in the last year"},
    InputSpec{"market.inference_from",
              kYearly,
              0,
              kAny,
              kAbove,
              "4e9 USD/year",
              "Spent on inference in the base year"},
    InputSpec{"market.inference_until",
              kYearly,
              0,
              kAny,
              kAbove,
              "1e12 USD/year",
              "And in the last year"},
    InputSpec{"market.price_factor",
              kRatio,
              0,
              1e6,
              kAbove,
              "14 %",
              "Price in the last year by that of the base year"},
    InputSpec{"market.elasticity",
              kRatio,
              -10,
              10,
              false,
              "-1.2 x",
              "Of demand: change of quantity per change of price, in logarithms"},
};

const InputSpec* find_spec(std::string_view key) {
  const auto at = std::ranges::find(kInputs, key, &InputSpec::key);
  return at == kInputs.end() ? nullptr : &*at;
}

bool is_price(const InputSpec& spec) {
  return spec.key.ends_with("price") && spec.dim.money == 1;
}

bool is_year(const InputSpec& spec) {
  return spec.least == 1900;
}

// Forms are written in USD.
std::string in_currency(std::string_view form, std::string_view currency) {
  std::string text(form);
  if (const size_t at = text.find("USD"); at != text.npos) text.replace(at, 3, currency);
  return text;
}

std::string unit_of(const InputSpec& spec, std::string_view currency) {
  const size_t space = spec.form.find(' ');
  return space == spec.form.npos ? std::string()
                                 : in_currency(spec.form.substr(space + 1), currency);
}

std::string quoted_form(const InputSpec& spec, std::string_view currency) {
  const std::string_view name = spec.key.substr(spec.key.find('.') + 1);
  return is_year(spec) ? fmt::format("{} = {}", name, spec.form)
                       : fmt::format("{} = \"{}\"", name, in_currency(spec.form, currency));
}

// The number of base units that "NUMBER UNIT" is, or what is wrong with it.
Result<double> read_value(const InputSpec& spec, std::string_view text, std::string_view currency) {
  FARTHING_TRY(const Amount amount, parse_amount(text, currency));
  if (amount.dim != spec.dim) {
    if (amount.dim == Dim{})
      return bad_input(
          "{} = {} has no unit: write {}", spec.key, printable(text), quoted_form(spec, currency));
    return bad_input("{} = \"{}\" is in {}, which can't stand for {}: write {}",
                     spec.key,
                     printable(text),
                     dim_name(amount.dim, currency),
                     dim_name(spec.dim, currency),
                     quoted_form(spec, currency));
  }
  const double shown = in_unit(amount, unit_of(spec, currency), currency);
  const double slack = 1e-9 * std::max(std::abs(spec.least), 1.0);
  const bool low = spec.above_least ? shown <= spec.least : shown < spec.least - slack;
  if (low && spec.least == 0) {
    return bad_input("{} = \"{}\" {}: write {}",
                     spec.key,
                     printable(text),
                     shown == 0 ? "must be more than zero" : "is negative",
                     quoted_form(spec, currency));
  }
  if (low || shown > spec.most * (1 + 1e-9)) {
    return bad_input("{} = \"{}\" must be from {} to {} {}: write {}",
                     spec.key,
                     printable(text),
                     spec.least,
                     spec.most,
                     unit_of(spec, currency),
                     quoted_form(spec, currency));
  }
  return amount.value;
}

}  // namespace

std::span<const InputSpec> scenario_inputs() {
  return kInputs;
}

// Reads one file; every error names its line.
class ScenarioReader {
 public:
  explicit ScenarioReader(const std::string& name) { scenario_.name_ = name; }

  Result<Scenario> read(std::string_view text) {
    if (!is_utf8(text)) return bad_input("{}: isn't text (UTF-8)", scenario_.name_);
    const toml::parse_result parsed = toml::parse(text);
    if (!parsed) {
      return bad_input("{}:{}: {}",
                       scenario_.name_,
                       parsed.error().source().begin.line,
                       parsed.error().description());
    }
    const toml::table& root = parsed.table();
    if (root.empty()) {
      return bad_input("{}: is empty; `farthing econ scenarios toast` prints one to begin with",
                       scenario_.name_);
    }
    // First: figures are read in it.
    if (const toml::node* currency = root.get("currency"))
      FARTHING_TRY_VOID(read_currency(*currency));
    for (const auto& [key, node] : root) FARTHING_TRY_VOID(read_top(std::string(key.str()), node));
    std::ranges::stable_sort(scenario_.figures_, {}, [](const Figure& f) { return f.spec; });
    FARTHING_TRY_VOID(scenario_.check());
    return std::move(scenario_);
  }

 private:
  std::string at(const toml::node& node) const {
    return fmt::format("{}:{}", scenario_.name_, node.source().begin.line);
  }

  Status read_currency(const toml::node& node) {
    const std::string code = node.value_or(std::string());
    const bool good =
        code.size() == 3 && std::ranges::all_of(code, [](char c) { return c >= 'A' && c <= 'Z'; });
    if (!good)
      return bad_input("{}: currency must be three capital letters: currency = \"USD\"", at(node));
    scenario_.currency_ = code;
    return {};
  }

  Status read_top(const std::string& key, const toml::node& node) {
    if (key == "currency") return {};
    if (key == "title" || key == "about") {
      if (!node.is_string()) return bad_input("{}: {} must be a string", at(node), key);
      (key == "title" ? scenario_.title_ : scenario_.about_) = node.value_or(std::string());
      return {};
    }
    if (key == "points" || key == "correlation") {
      const toml::array* list = node.as_array();
      if (!list || !list->is_array_of_tables())
        return bad_input("{}: {} must be written as [[{}]]", at(node), key, key);
      if (list->size() > (key == "points" ? kMostPoints : kMostCorrelations))
        return bad_input("{}: {} entries are too many", at(node), list->size());
      for (const toml::node& entry : *list) {
        FARTHING_TRY_VOID(key == "points" ? read_point(*entry.as_table())
                                          : read_correlation(*entry.as_table()));
      }
      return {};
    }
    const toml::table* table = node.as_table();
    if (!table || !is_table_name(key)) return unknown(key, node);
    for (const auto& [inner, value] : *table) {
      const std::string full = key + "." + std::string(inner.str());
      const InputSpec* spec = find_spec(full);
      if (!spec) return unknown(full, value);
      Status status = read_figure(*spec, value);
      if (!status) return std::move(status).error().in(at(value));
    }
    return {};
  }

  static bool is_table_name(const std::string& name) {
    return std::ranges::any_of(kInputs, [&](const InputSpec& spec) {
      return spec.key.substr(0, spec.key.find('.')) == name;
    });
  }

  Error unknown(const std::string& key, const toml::node& node) const {
    std::vector<std::string> names = {"title", "about", "currency", "points", "correlation"};
    for (const InputSpec& spec : kInputs) {
      names.emplace_back(spec.key);
      names.emplace_back(spec.key.substr(0, spec.key.find('.')));
    }
    const std::string best = nearest(key, names);
    return bad_input(
        "{}: there is no input {}{}",
        at(node),
        printable(key),
        best.empty() ? "; docs/economics.md lists them" : ": did you mean " + best + "?");
  }

  // "NUMBER UNIT", or a bare number where there is no unit.
  Result<double> read_text(const InputSpec& spec, const toml::node& node) const {
    if (node.is_number()) {
      const double number = node.value_or(0.0);
      if (!std::isfinite(number)) return bad_input("{} = {} is no finite number", spec.key, number);
      return read_value(spec, fmt::format("{}", number), scenario_.currency_);
    }
    if (!node.is_string()) return bad_input("{}: {}", spec.key, kFigureForms);
    return read_value(spec, node.value_or(std::string_view()), scenario_.currency_);
  }

  Status read_figure(const InputSpec& spec, const toml::node& node) {
    Figure figure{.spec = &spec, .where = at(node)};
    const toml::table* table = node.as_table();
    const toml::node* value = table ? table->get("value") : &node;
    if (!value) return bad_input("{} has no value; {}", spec.key, kFigureForms);
    FARTHING_TRY(figure.value, read_text(spec, *value));
    figure.low = figure.high = figure.value;
    if (table) FARTHING_TRY_VOID(read_more(spec, *table, figure));
    scenario_.figures_.push_back(std::move(figure));
    return {};
  }

  Status read_more(const InputSpec& spec, const toml::table& table, Figure& figure) const {
    std::string shape = "pert";
    for (const auto& [key, node] : table) {
      const std::string_view name = key.str();
      if (name == "value") continue;
      if (name == "low" || name == "high") {
        FARTHING_TRY((name == "low" ? figure.low : figure.high), read_text(spec, node));
        figure.shape = Shape::kPert;
        continue;
      }
      const std::string text = node.value_or(std::string());
      if (!node.is_string()) return bad_input("{}.{} must be a string", spec.key, name);
      if (name == "source") {
        figure.source = text;
      } else if (name == "date") {
        figure.date = text;
      } else if (name == "shape" && (text == "pert" || text == "lognormal")) {
        shape = text;
      } else if (name == "basis" && is_price(spec) && (text == "reserved" || text == "used")) {
        figure.basis = text == "used" ? Basis::kUsed : Basis::kReserved;
      } else {
        return bad_input("{}: {} = \"{}\" can't be here; {}{}",
                         spec.key,
                         printable(name),
                         printable(text),
                         kFigureForms,
                         name == "basis" ? " (basis: of prices alone)" : "");
      }
    }
    if (figure.shape != Shape::kFixed && shape == "lognormal") figure.shape = Shape::kLognormal;
    return {};
  }

  Status read_point(const toml::table& table) {
    DatedPrice point;
    const std::string form =
        R"([[points]] needs year = 2020 and price = "0.02 USD/ktok" (and may have label and source))";
    for (const auto& [key, node] : table) {
      const std::string_view name = key.str();
      if (name == "year" && node.is_number()) {
        point.year = node.value_or(0.0);
        if (!(point.year >= 1900 && point.year <= 2200))
          return bad_input("{}: year {} must be from 1900 to 2200", at(node), point.year);
      } else if (name == "price" && node.is_string()) {
        const auto amount = parse_amount(node.value_or(std::string_view()), scenario_.currency_);
        if (!amount) return Error(amount.error()).in(at(node));
        if (amount->dim != TokenPrice::kDim)
          return bad_input("{}: price must be in {}/tok; {}", at(node), scenario_.currency_, form);
        if (!(amount->value > 0))
          return bad_input("{}: price must be more than zero; {}", at(node), form);
        point.price = TokenPrice::of_base_units(amount->value);
      } else if (name == "label" && node.is_string()) {
        point.label = node.value_or(std::string());
      } else if (name == "source" && node.is_string()) {
        point.source = node.value_or(std::string());
      } else {
        return bad_input("{}: {} can't be here; {}", at(node), printable(name), form);
      }
    }
    if (point.year == 0 || point.price.value == 0) return bad_input("{}: {}", at(table), form);
    scenario_.points_.push_back(std::move(point));
    std::ranges::stable_sort(scenario_.points_, {}, &DatedPrice::year);
    return {};
  }

  Status read_correlation(const toml::table& table) {
    Scenario::Correlation c{.where = at(table)};
    const toml::node_view<const toml::node> rank = table["rank"];
    c.a = table["a"].value_or(std::string());
    c.b = table["b"].value_or(std::string());
    c.rank = rank.value_or(2.0);
    if (table.size() != 3 || c.a.empty() || c.b.empty() || !(std::abs(c.rank) < 1)) {
      return bad_input(
          "{}: [[correlation]] needs a = \"traffic.queries\", b = \"after.acceptance\" and rank = "
          "0.5 (between -1 and 1)",
          c.where);
    }
    scenario_.correlations_.push_back(std::move(c));
    return {};
  }

  Scenario scenario_;
};

Result<Scenario> Scenario::parse(std::string_view toml, const std::string& name) {
  return ScenarioReader(name).read(toml);
}

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
  const InputSpec* spec = find_spec(key);
  if (!spec) {
    std::vector<std::string> names;
    for (const InputSpec& input : kInputs) names.emplace_back(input.key);
    const std::string best = nearest(key, names);
    return usage_error(
        "--set: there is no input {}{}",
        printable(key),
        best.empty() ? "; docs/economics.md lists them" : ": did you mean " + best + "?");
  }
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
  const InputSpec* spec = find_spec(key);
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
  CHECK(find_spec(key) != nullptr);  // a name that nobody can give
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
  const InputSpec* spec = find_spec(key);
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
      if (!find_spec(key)) return bad_input("{}: there is no input {}", c.where, printable(key));
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
