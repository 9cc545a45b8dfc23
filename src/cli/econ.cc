#include "cli/econ.h"

#include "cli/io.h"
#include "cli/verbs.h"
#include "econ/embedded.h"

namespace farthing {
namespace {

Status print_scenario(const std::string& name) {
  if (!name.empty()) {
    const std::string_view text = embedded_file("scenarios/" + name + ".toml");
    if (!text.empty()) return write_stdout(text);
    EconOptions options{.scenario = name};
    FARTHING_TRY_VOID(read_scenario(options, ""));  // says which there are
    return usage_error("{} is a file of yours", name);
  }
  HtmlTable table{.title = "", .header = {"scenario", "about"}, .rows = {}};
  for (const EmbeddedFile& file : embedded_files()) {
    if (!file.name.starts_with("scenarios/")) continue;
    const std::string stem(file.name.substr(10, file.name.size() - 15));
    FARTHING_TRY(const Scenario scenario, Scenario::parse(file.text, stem + ".toml"));
    table.rows.push_back({stem, scenario.title()});
  }
  return write_stdout(table_text(table));
}

}  // namespace

void add_econ_options(CLI::App& verb, EconOptions& options) {
  verb.add_option(
      "SCENARIO", options.scenario, "A name (see: farthing econ scenarios) or a TOML file");
  verb.add_option(
          "--set", options.sets, "Another value for an input: \"traffic.queries=1000 query/day\"")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
  verb.add_flag("--json", options.json, "Print one JSON object");
  verb.add_option("--html", options.html, "Also write charts and inputs as one HTML file")
      ->type_name("FILE");
}

void add_econ(CLI::App& app, int& exit_code) {
  CLI::App* econ = add_verb(
      app, "econ", "What inference costs, and what making it cheaper is worth", exit_code, [] {
        return Status(
            usage_error("econ needs one of cost, compare, roi, human, breakeven, tornado, mc, "
                        "curve, market, audit, "
                        "scenarios (see: farthing econ --help)"));
      });
  add_econ_prices(*econ, exit_code);
  add_econ_project(*econ, exit_code);
  add_econ_risk(*econ, exit_code);
  add_econ_market(*econ, exit_code);
  add_econ_audit(*econ, exit_code);
  const auto name = std::make_shared<std::string>();
  CLI::App* scenarios = add_verb(*econ,
                                 "scenarios",
                                 "List the scenarios at hand, or print one to begin with",
                                 exit_code,
                                 [name] { return print_scenario(*name); });
  scenarios->add_option("NAME", *name, "Which to print");
}

}  // namespace farthing
