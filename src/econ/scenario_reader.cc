// Reads a scenario's TOML.
#include <algorithm>
#include <cmath>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "base/utf8.h"
#include "econ/scenario_inputs.h"

namespace farthing {
namespace {

constexpr size_t kMostPoints = 1000;
constexpr size_t kMostCorrelations = 100;
constexpr std::string_view kFigureForms =
    R"(a figure is "NUMBER UNIT", or {value = "...", low = "...", high = "...", shape = "pert|lognormal", basis = "reserved|used", source = "...", date = "..."})";

}  // namespace

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
      const InputSpec* spec = find_input(full);
      if (!spec) return unknown(full, value);
      Status status = read_figure(*spec, value);
      if (!status) return std::move(status).error().in(at(value));
    }
    return {};
  }

  static bool is_table_name(const std::string& name) {
    return std::ranges::any_of(scenario_inputs(), [&](const InputSpec& spec) {
      return spec.key.substr(0, spec.key.find('.')) == name;
    });
  }

  Error unknown(const std::string& key, const toml::node& node) const {
    std::vector<std::string> others = {"title", "about", "currency", "points", "correlation"};
    for (const InputSpec& spec : scenario_inputs())
      others.emplace_back(spec.key.substr(0, spec.key.find('.')));
    return bad_input("{}: {}", at(node), no_such_input(key, std::move(others)));
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

}  // namespace farthing
