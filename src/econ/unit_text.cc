#include "econ/unit_text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "base/utf8.h"

namespace farthing {
namespace {

constexpr size_t kMostTextBytes = 200;
constexpr std::string_view kUnits =
    "units are USD, ms s min h day week month year, W kW, J kWh, tok ktok Mtok (input_tok, "
    "cached_tok, "
    "output_tok, ...), query, person, % and x, joined by / and *";

struct Named {
  std::string_view name;
  double scale;
  Dim dim;
};

constexpr double kDay = days(1).value;
constexpr std::array kNamed = {
    Named{"ms", 1e-3, {.time = 1}},
    Named{"s", 1, {.time = 1}},
    Named{"second", 1, {.time = 1}},
    Named{"min", 60, {.time = 1}},
    Named{"minute", 60, {.time = 1}},
    Named{"h", 3600, {.time = 1}},
    Named{"hour", 3600, {.time = 1}},
    Named{"day", kDay, {.time = 1}},
    Named{"week", 7 * kDay, {.time = 1}},
    Named{"month", months(1).value, {.time = 1}},
    Named{"year", years(1).value, {.time = 1}},
    Named{"J", 1, {.energy = 1}},
    Named{"kWh", 3.6e6, {.energy = 1}},
    Named{"MWh", 3.6e9, {.energy = 1}},
    Named{"W", 1, {.time = -1, .energy = 1}},
    Named{"kW", 1e3, {.time = -1, .energy = 1}},
    Named{"MW", 1e6, {.time = -1, .energy = 1}},
    Named{"tok", 1, {.tokens = 1}},
    Named{"ktok", 1e3, {.tokens = 1}},
    Named{"Mtok", 1e6, {.tokens = 1}},
    Named{"token", 1, {.tokens = 1}},
    Named{"input_tok", 1, {.input = 1}},
    Named{"input_ktok", 1e3, {.input = 1}},
    Named{"input_Mtok", 1e6, {.input = 1}},
    Named{"cached_tok", 1, {.cached = 1}},
    Named{"cached_ktok", 1e3, {.cached = 1}},
    Named{"cached_Mtok", 1e6, {.cached = 1}},
    Named{"output_tok", 1, {.output = 1}},
    Named{"output_ktok", 1e3, {.output = 1}},
    Named{"output_Mtok", 1e6, {.output = 1}},
    Named{"query", 1, {.requests = 1}},
    Named{"queries", 1, {.requests = 1}},
    Named{"request", 1, {.requests = 1}},
    Named{"task", 1, {.requests = 1}},
    Named{"person", 1, {.people = 1}},
    Named{"people", 1, {.people = 1}},
    Named{"user", 1, {.people = 1}},
    Named{"FTE", 1, {.people = 1}},
    Named{"%", 0.01, {}},
    Named{"x", 1, {}},
    Named{"1", 1, {}},
};

bool is_currency(std::string_view word) {
  return word.size() == 3 && std::ranges::all_of(word, [](char c) { return c >= 'A' && c <= 'Z'; });
}

// Also its plural, if it has one: tokens, days, users.
std::optional<Named> find_unit(std::string_view word) {
  for (const Named& unit : kNamed) {
    if (word == unit.name) return unit;
  }
  if (word.size() > 3 && word.back() == 's') return find_unit(word.substr(0, word.size() - 1));
  return std::nullopt;
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

}  // namespace

Result<Amount> parse_unit(std::string_view text, std::string_view currency) {
  if (text.size() > kMostTextBytes) return bad_input("the unit is too long; {}", kUnits);
  Amount unit{.value = 1};
  std::string_view rest = trimmed(text);
  bool divided = false;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find_first_of("/*"), rest.size());
    const std::string_view word = trimmed(rest.substr(0, end));
    std::optional<Named> found = find_unit(word);
    if (!found && is_currency(word)) {
      if (word != currency) {
        return bad_input("{} among figures in {}: convert it, for one scenario has one currency",
                         word,
                         currency);
      }
      found = Named{word, 1, {.money = 1}};
    }
    if (!found) return bad_input("there is no unit \"{}\"; {}", printable(word), kUnits);
    unit.value = divided ? unit.value / found->scale : unit.value * found->scale;
    unit.dim = divided ? unit.dim - found->dim : unit.dim + found->dim;
    if (end == rest.size()) return unit;
    divided = rest[end] == '/';
    rest = trimmed(rest.substr(end + 1));
    if (rest.empty()) return bad_input("\"{}\" ends with {}", printable(text), divided ? '/' : '*');
  }
  return unit;
}

Result<Amount> parse_amount(std::string_view text, std::string_view currency) {
  if (text.size() > kMostTextBytes)
    return bad_input("a figure of {} bytes is too long", text.size());
  const std::string_view whole = trimmed(text);
  // The number ends where nothing of a number follows; an e is one only before digits.
  size_t end = 0;
  const auto digit = [&](size_t i) {
    return i < whole.size() && whole[i] >= '0' && whole[i] <= '9';
  };
  while (end < whole.size()) {
    const char c = whole[end];
    const bool sign =
        (c == '-' || c == '+') && (end == 0 || whole[end - 1] == 'e' || whole[end - 1] == 'E');
    const bool exponent =
        (c == 'e' || c == 'E') && end > 0 && (digit(end - 1) || whole[end - 1] == '.') &&
        (digit(end + 1) || ((end + 1 < whole.size()) &&
                            (whole[end + 1] == '-' || whole[end + 1] == '+') && digit(end + 2)));
    const bool gap = c == '_' && end > 0 && digit(end - 1) && digit(end + 1);
    if (!digit(end) && c != '.' && !sign && !exponent && !gap) break;
    ++end;
  }
  std::string number(whole.substr(0, end));
  std::erase(number, '_');
  char* stop = nullptr;
  const double value = std::strtod(number.c_str(), &stop);
  if (number.empty() || *stop != '\0' || stop == number.c_str())
    return bad_input("\"{}\" doesn't begin with a number", printable(text));
  FARTHING_TRY(Amount amount, parse_unit(whole.substr(end), currency));
  amount.value *= value;
  if (!std::isfinite(amount.value)) return bad_input("\"{}\" is no finite number", printable(text));
  return amount;
}

double in_unit(Amount amount, std::string_view unit, std::string_view currency) {
  const Result<Amount> parsed = parse_unit(unit, currency);
  CHECK(parsed && parsed->dim == amount.dim);
  return amount.value / parsed->value;
}

std::string dim_name(Dim dim, std::string_view currency) {
  const std::array<std::pair<std::string_view, int>, 9> parts = {{{currency, dim.money},
                                                                  {"J", dim.energy},
                                                                  {"tok", dim.tokens},
                                                                  {"input_tok", dim.input},
                                                                  {"cached_tok", dim.cached},
                                                                  {"output_tok", dim.output},
                                                                  {"query", dim.requests},
                                                                  {"person", dim.people},
                                                                  {"s", dim.time}}};
  std::string above, below;
  for (const auto& [name, power] : parts) {
    for (int i = 0; i < power; ++i) above += (above.empty() ? "" : "*") + std::string(name);
    for (int i = 0; i < -power; ++i) below += "/" + std::string(name);
  }
  if (above.empty()) return below.empty() ? "a number without unit" : "1" + below;
  return above + below;
}

}  // namespace farthing
