// What a money verb has to say, and the three ways to say it: aligned text, JSON, one HTML file.
#pragma once

#include <string>
#include <vector>

#include "base/chart.h"
#include "base/json.h"
#include "base/result.h"
#include "econ/scenario.h"

namespace farthing {

struct EconReport {
  std::string title;
  std::string about;                // HTML alone
  std::vector<HtmlTable> tables;    // text and HTML
  std::vector<std::string> notes;   // lines beneath them
  std::vector<std::string> charts;  // HTML
  Json json;                        // with "rows"
};

struct EconOptions {
  std::string scenario;
  std::vector<std::string> sets;
  bool json = false;
  std::string html;  // file; empty: none
};

// The scenario named or in a file, with what --set gives; `otherwise` where none is named.
Result<Scenario> load_scenario(const EconOptions& options, const std::string& otherwise);
// Without --set, which others apply later.
Result<Scenario> read_scenario(const EconOptions& options, const std::string& otherwise);
Status apply_sets(const EconOptions& options, Scenario& scenario);

// {"schema", "verb", "scenario", "currency", "inputs_hash", "rows": []}
Json report_json(std::string_view verb, const Scenario& scenario);
// Figures with value, bounds, unit and source.
HtmlTable inputs_table(const Scenario& scenario);

// Prints it as the options say, and writes the HTML.
Status publish(const EconReport& report, const EconOptions& options);

Status write_html(const EconReport& report, const std::string& path);

// Columns in line, the last one wrapped to 100 columns.
std::string table_text(const HtmlTable& table);
// Broken into lines of at most `width` columns, each with the indent.
std::string wrapped(const std::string& text, size_t width, const std::string& indent);

// "1.11M USD"
std::string money_text(double amount, const std::string& currency);
std::string percent_text(double ratio);
std::string times_text(double ratio);

}  // namespace farthing
