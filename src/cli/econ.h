// The verbs beneath `farthing econ`: what inference costs and what optimising it is worth.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "cli/econ_report.h"
#include "cli/verb.h"

namespace farthing {

void add_econ_prices(CLI::App& econ, int& exit_code);   // cost, compare
void add_econ_project(CLI::App& econ, int& exit_code);  // roi, human, breakeven
void add_econ_risk(CLI::App& econ, int& exit_code);     // tornado, mc
void add_econ_market(CLI::App& econ, int& exit_code);   // curve, market
void add_econ_audit(CLI::App& econ, int& exit_code);

// The options of those verbs.
void add_econ_options(CLI::App& verb, EconOptions& options);

// A verb with those, whose report is published. `Command` has a member `econ` of EconOptions.
template <class Command>
CLI::App* add_econ_verb(CLI::App& econ,
                        const std::string& name,
                        const std::string& description,
                        int& exit_code,
                        const std::shared_ptr<Command>& command,
                        std::function<Result<EconReport>(const Command&)> make) {
  CLI::App* verb = add_verb(econ, name, description, exit_code, [command, make]() -> Status {
    FARTHING_TRY(const EconReport report, make(*command));
    return publish(report, command->econ);
  });
  add_econ_options(*verb, command->econ);
  return verb;
}

}  // namespace farthing
