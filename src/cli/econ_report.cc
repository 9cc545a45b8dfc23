#include "cli/econ_report.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "base/mapped_file.h"
#include "base/nearest.h"
#include "base/new_file.h"
#include "base/utf8.h"
#include "cli/io.h"
#include "cli/output.h"
#include "econ/embedded.h"

namespace farthing {
namespace {

constexpr size_t kMostScenarioBytes = 1 << 20;
constexpr size_t kTextWidth = 100;

size_t columns(std::string_view text) {  // code points: nothing wide is printed
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

bool is_number(std::string_view cell) {
  return !cell.empty() && (std::isdigit(static_cast<unsigned char>(cell[0])) ||
                           (cell.size() > 1 && (cell[0] == '-' || cell[0] == '+') &&
                            std::isdigit(static_cast<unsigned char>(cell[1]))) ||
                           cell == "-");
}

std::vector<std::string> scenario_names() {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : embedded_files()) {
    constexpr std::string_view kFolder = "scenarios/", kEnd = ".toml";
    if (!file.name.starts_with(kFolder)) continue;
    names.emplace_back(
        file.name.substr(kFolder.size(), file.name.size() - kFolder.size() - kEnd.size()));
  }
  return names;
}

}  // namespace

Result<Scenario> read_scenario(const EconOptions& options, const std::string& otherwise) {
  const std::string& name = options.scenario.empty() ? otherwise : options.scenario;
  if (const std::string_view text = embedded_file("scenarios/" + name + ".toml"); !text.empty())
    return Scenario::parse(text, name + ".toml");
  std::error_code ignored;
  if (!std::filesystem::exists(name, ignored) && name.find('/') == name.npos) {
    const std::vector<std::string> names = scenario_names();
    const std::string best = nearest(name, names);
    return usage_error("there is no scenario {}{}; there are {}, or give a TOML file",
                       printable(name),
                       best.empty() ? "" : ": did you mean " + best + "?",
                       fmt::join(names, ", "));
  }
  FARTHING_TRY(const std::string text, read_file(name, kMostScenarioBytes));
  return Scenario::parse(text, printable(name));
}

Status apply_sets(const EconOptions& options, Scenario& scenario) {
  for (const std::string& set : options.sets) FARTHING_TRY_VOID(scenario.set(set));
  return scenario.check();
}

Result<Scenario> load_scenario(const EconOptions& options, const std::string& otherwise) {
  FARTHING_TRY(Scenario scenario, read_scenario(options, otherwise));
  FARTHING_TRY_VOID(apply_sets(options, scenario));
  return scenario;
}

Json report_json(std::string_view verb, const Scenario& scenario) {
  return {{"schema", "farthing-econ/1"},
          {"verb", verb},
          {"scenario", scenario.name()},
          {"currency", scenario.currency()},
          {"inputs_hash", fmt::format("{:016x}", scenario.hash())},
          {"rows", Json::array()}};
}

HtmlTable inputs_table(const Scenario& scenario) {
  HtmlTable table{
      .title = "Inputs", .header = {"input", "value", "low", "high", "source"}, .rows = {}};
  for (const Figure& f : scenario.figures()) {
    const bool sure = f.shape == Shape::kFixed;
    table.rows.push_back({std::string(f.spec->key),
                          scenario.shown(f, f.value),
                          sure ? "" : scenario.shown(f, f.low),
                          sure ? "" : scenario.shown(f, f.high),
                          f.source + (f.date.empty() ? "" : ", " + f.date)});
  }
  return table;
}

std::string wrapped(const std::string& text, size_t width, const std::string& indent) {
  std::string out, row;
  const auto flush = [&] {
    out += (out.empty() ? "" : "\n" + indent) + row;
    row.clear();
  };
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find_first_of(" \n", at), text.size());
    const std::string word = text.substr(at, end - at);
    at = end + 1;
    if (word.empty()) continue;
    if (!row.empty() && columns(row) + 1 + columns(word) > width) flush();
    row += (row.empty() ? "" : " ") + word;
  }
  if (!row.empty()) flush();
  return out;
}

std::string table_text(const HtmlTable& table) {
  std::vector<size_t> widths;
  for (const std::string& cell : table.header) widths.push_back(columns(cell));
  for (const auto& row : table.rows) {
    for (size_t i = 0; i < row.size() && i < widths.size(); ++i)
      widths[i] = std::max(widths[i], columns(row[i]));
  }
  std::string out = table.title.empty() ? "" : table.title + "\n";
  // A column of numbers is set right, its header too.
  std::vector<bool> right(widths.size(), !table.rows.empty());
  for (const auto& row : table.rows) {
    for (size_t i = 0; i < row.size() && i < widths.size(); ++i)
      right[i] = right[i] && (row[i].empty() || is_number(row[i]));
  }
  const auto print = [&](const std::vector<std::string>& row) {
    std::string text;
    size_t used = 0;
    for (size_t i = 0; i < row.size() && i < widths.size(); ++i) {
      const std::string gap(i == 0 ? 0 : 2, ' ');
      const std::string fill(widths[i] - std::min(widths[i], columns(row[i])), ' ');
      const bool last = i + 1 == row.size();
      used += gap.size();
      if (last && !right[i]) {
        const size_t room = std::max<size_t>(30, kTextWidth - std::min(kTextWidth, used));
        text += gap + wrapped(row[i], room, std::string(used, ' '));
      } else {
        text += gap + (right[i] ? fill + row[i] : last ? row[i] : row[i] + fill);
      }
      used += widths[i];
    }
    while (text.ends_with(' ')) text.pop_back();
    out += text + "\n";
  };
  if (std::ranges::any_of(table.header, [](const std::string& h) { return !h.empty(); }))
    print(table.header);
  for (const auto& row : table.rows) print(row);
  return out;
}

Status write_html(const EconReport& report, const std::string& path) {
  std::vector<std::string> parts = {fmt::format("<p>{}</p>\n", html_text(report.about))};
  parts.insert(parts.end(), report.charts.begin(), report.charts.end());
  for (const HtmlTable& table : report.tables) parts.push_back(html(table));
  for (const std::string& note : report.notes)
    parts.push_back(fmt::format("<p>{}</p>\n", html_text(note)));
  return write_file(path, html_page(report.title, parts));
}

Status publish(const EconReport& report, const EconOptions& options) {
  if (!options.html.empty()) FARTHING_TRY_VOID(write_html(report, options.html));
  if (options.json) return write_stdout(to_text(report.json, 2) + "\n");
  std::string text = report.title + "\n";
  for (const HtmlTable& table : report.tables) {
    if (table.title == "Inputs") continue;  // in the HTML; here they would hide what comes of them
    text += "\n" + table_text(table);
  }
  if (!report.notes.empty()) text += "\n";
  for (const std::string& note : report.notes) text += wrapped(note, kTextWidth, "") + "\n";
  return write_stdout(text);
}

std::string money_text(double amount, const std::string& currency) {
  return short_number(amount) + " " + currency;
}
std::string percent_text(double ratio) {
  return short_number(ratio * 100) + " %";
}
std::string times_text(double ratio) {
  return short_number(ratio) + "x";
}

}  // namespace farthing
