#include "econ/audit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

#include "econ/formula.h"

namespace farthing {
namespace {

constexpr std::array<std::string_view, 7> kVerdicts = {
    "OK", "UNIT", "ARITH", "DIR", "CONTRA", "FALSE", "UNSUP"};
constexpr size_t kMostRanges = 12;

std::optional<Range> range_of(const Json& value) {
  if (value.is_number()) return Range{value.get<double>(), value.get<double>()};
  if (!value.is_array() || value.size() != 2 || !value[0].is_number() || !value[1].is_number())
    return std::nullopt;
  return Range{value[0].get<double>(), value[1].get<double>()};
}

bool near(double a, double b, double tolerance) {
  return std::abs(a - b) <= tolerance * std::max(std::abs(a), std::abs(b)) + 1e-12 * std::abs(b);
}

// The formula at every corner of the inputs' ranges: its own range, if it is monotone in each.
Result<Range> recompute(const AuditRow& row) {
  std::vector<std::pair<std::string, std::array<Amount, 2>>> inputs;
  for (const auto& [name, value] : row.inputs.items()) {
    std::array<Amount, 2> ends;
    for (size_t i = 0; i < 2; ++i) {
      const Json& text = value.is_array() && value.size() == 2 ? value[i] : value;
      if (!text.is_string()) return bad_input("input {} is no figure with a unit", name);
      FARTHING_TRY(ends[i], parse_amount(text.get<std::string>(), "USD"));
    }
    inputs.emplace_back(name, ends);
  }
  if (inputs.size() > kMostRanges) return bad_input("{} inputs are too many", inputs.size());
  FARTHING_TRY(const Amount unit, parse_unit(row.unit, "USD"));
  Range range{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  for (size_t corner = 0; corner < size_t{1} << inputs.size(); ++corner) {
    std::map<std::string, Amount> names;
    for (size_t i = 0; i < inputs.size(); ++i)
      names[inputs[i].first] = inputs[i].second[corner >> i & 1];
    FARTHING_TRY(const Amount value, evaluate(row.formula, names));
    if (value.dim != unit.dim) {
      return bad_input("the formula comes to {}, not to {}", dim_name(value.dim, "USD"), row.unit);
    }
    range.low = std::min(range.low, value.value / unit.value);
    range.high = std::max(range.high, value.value / unit.value);
  }
  return range;
}

Result<AuditRow> read_row(const Json& json) {
  const auto text = [&](const char* key) {
    return json.contains(key) && json[key].is_string() ? json[key].get<std::string>()
                                                       : std::string();
  };
  AuditRow row{.id = text("id"),
               .section = text("section"),
               .chapter_expr = text("chapter_expr"),
               .chapter_value = json.value("chapter_value", Json()),
               .unit = text("unit"),
               .formula = text("formula"),
               .inputs = json.value("inputs", Json::object()),
               .reason = text("reason")};
  if (row.id.empty() || row.section.empty() || row.reason.empty() || row.chapter_expr.empty())
    return bad_input("row \"{}\": id, section, chapter_expr and reason must be given", row.id);
  if (text("kind") != (row.computed() ? "computed" : "judged"))
    return bad_input("row {}: kind is computed with a formula, else judged", row.id);
  if (json.contains("verdicts") && json["verdicts"].is_array()) {
    for (const Json& word : json["verdicts"])
      row.verdicts.push_back(word.is_string() ? word.get<std::string>() : "");
  }
  if (row.verdicts.empty() || !std::ranges::all_of(row.verdicts, is_verdict))
    return bad_input("row {}: verdicts must be words of the list", row.id);
  if (!row.computed()) return row;
  row.pinned = range_of(json.value("our_value", Json()));
  const Json tolerance = json.value("tol", Json());
  if (!row.pinned || !tolerance.is_number())
    return bad_input("row {}: our_value and tol must be given", row.id);
  row.tolerance = tolerance.get<double>();
  Result<Range> ours = recompute(row);
  if (!ours) return std::move(ours).error().in("row " + row.id);
  row.ours = *ours;
  return row;
}

}  // namespace

bool is_verdict(std::string_view word) {
  return std::ranges::find(kVerdicts, word) != kVerdicts.end();
}

std::optional<bool> AuditRow::agrees() const {
  const std::optional<Range> chapter = range_of(chapter_value);
  if (!chapter || !ours) return std::nullopt;
  return near(chapter->low, ours->low, tolerance) && near(chapter->high, ours->high, tolerance);
}

Result<std::vector<AuditRow>> read_audit(std::string_view jsonl) {
  std::vector<AuditRow> rows;
  while (!jsonl.empty()) {
    const size_t end = std::min(jsonl.find('\n'), jsonl.size());
    const std::string_view line = jsonl.substr(0, end);
    jsonl.remove_prefix(std::min(end + 1, jsonl.size()));
    if (line.empty()) continue;
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) return bad_input("row {}: is no JSON object", rows.size() + 1);
    FARTHING_TRY(AuditRow row, read_row(json));
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace farthing
