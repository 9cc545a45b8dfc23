// The verb `econ audit`: the chapter's figures beside ours.
#include <unistd.h>

#include <algorithm>
#include <map>

#include "cli/econ.h"
#include "cli/io.h"
#include "cli/terminal.h"
#include "econ/audit.h"
#include "econ/embedded.h"

namespace farthing {
namespace {

struct AuditCommand {
  EconOptions econ;
  std::string id;
};

std::string range_text(const std::optional<Range>& range) {
  if (!range) return "-";
  return range->low == range->high ? short_number(range->low)
                                   : short_number(range->low) + " to " + short_number(range->high);
}

std::string chapter_text(const Json& value) {
  if (value.is_number()) return short_number(value.get<double>());
  if (value.is_array() && value.size() == 2 && value[0].is_number() && value[1].is_number())
    return short_number(value[0].get<double>()) + " to " + short_number(value[1].get<double>());
  return "-";
}

std::string verdict_text(const AuditRow& row) {
  return fmt::format("{}", fmt::join(row.verdicts, ", "));
}

Json row_json(const AuditRow& row) {
  Json ours;
  if (row.ours)
    ours =
        row.ours->low == row.ours->high ? Json(row.ours->low) : Json{row.ours->low, row.ours->high};
  const std::optional<bool> agrees = row.agrees();
  return {{"id", row.id},
          {"section", row.section},
          {"chapter_expr", row.chapter_expr},
          {"chapter_value", row.chapter_value},
          {"unit", row.unit},
          {"kind", row.computed() ? "computed" : "judged"},
          {"formula", row.computed() ? Json(row.formula) : Json()},
          {"inputs", row.inputs},
          {"our_value", std::move(ours)},
          {"agrees", agrees ? Json(*agrees) : Json()},
          {"verdict", verdict_text(row)},
          {"verdicts", row.verdicts},
          {"reason", row.reason}};
}

// A row and its parts: R7 is R7a to R7f.
bool is_of(const std::string& id, const std::string& wanted) {
  if (wanted.empty() || id == wanted) return true;
  return id.starts_with(wanted) && id.size() == wanted.size() + 1 && id.back() >= 'a' &&
         id.back() <= 'z';
}

Status audit(const AuditCommand& command) {
  FARTHING_TRY(std::vector<AuditRow> rows, read_audit(embedded_file("data/chapter_audit.jsonl")));
  std::erase_if(rows, [&](const AuditRow& row) { return !is_of(row.id, command.id); });
  if (rows.empty())
    return usage_error("--id {}: there is no such row; leave --id out to see all", command.id);
  std::map<std::string, int> counts;
  EconReport report{.title = "audit: the chapter's figures, recomputed",
                    .about =
                        "OK: the arithmetic holds, not that the claim is true. UNIT, ARITH, DIR "
                        "(direction or baseline), "
                        "CONTRA (contradicts the chapter itself), FALSE (contradicts a source), "
                        "UNSUP (no source found)."};
  report.json = {{"schema", "farthing-econ/1"}, {"verb", "audit"}, {"rows", Json::array()}};
  HtmlTable table{
      .title = "",
      .header = {"id", "section", "chapter", "its value", "ours", "unit", "verdict", "why"},
      .rows = {}};
  const Style style = style_for(STDOUT_FILENO);
  std::string text = report.title + "\n";
  for (const AuditRow& row : rows) {
    for (const std::string& verdict : row.verdicts) ++counts[verdict];
    report.json["rows"].push_back(row_json(row));
    table.rows.push_back({row.id,
                          row.section,
                          row.chapter_expr,
                          chapter_text(row.chapter_value),
                          range_text(row.ours),
                          row.unit,
                          verdict_text(row),
                          row.reason});
    const std::string unit = row.unit.empty() || row.unit == "x" ? row.unit : " " + row.unit;
    text += fmt::format("\n{}{:<5}{} {}\n",
                        style.bold,
                        row.id,
                        style.reset,
                        wrapped(row.chapter_expr, 92, "      "));
    if (row.ours) {
      text += fmt::format("      chapter {}{}   ours {}{}\n",
                          chapter_text(row.chapter_value),
                          row.chapter_value.is_null() ? "" : unit,
                          range_text(row.ours),
                          unit);
    }
    text += fmt::format("      {}{}{}: {}\n",
                        style.bold,
                        verdict_text(row),
                        style.reset,
                        wrapped(row.reason, 92, "      "));
  }
  std::string summary = fmt::format("{} rows: ", rows.size());
  const char* separator = "";
  for (const auto& [verdict, n] : counts) {
    summary += fmt::format("{}{} {}", separator, n, verdict);
    separator = ", ";
  }
  report.json["counts"] = counts;
  report.notes = {summary + ". A row may have several verdicts."};
  report.tables = {std::move(table)};
  text += "\n" + report.notes[0] + "\n" + wrapped(report.about, 100, "") + "\n";
  if (command.econ.json) return publish(report, command.econ);
  if (!command.econ.html.empty()) FARTHING_TRY_VOID(write_html(report, command.econ.html));
  return write_stdout(text);
}

}  // namespace

void add_econ_audit(CLI::App& econ, int& exit_code) {
  const auto command = std::make_shared<AuditCommand>();
  CLI::App* verb = add_verb(
      econ, "audit", "The chapter's figures recomputed, each with a verdict", exit_code, [command] {
        return audit(*command);
      });
  verb->add_option("--id", command->id, "One row, or one with its parts: R7")->type_name("ID");
  verb->add_flag("--json", command->econ.json, "Print one JSON object");
  verb->add_option("--html", command->econ.html, "Also write it as one HTML file")
      ->type_name("FILE");
}

}  // namespace farthing
