// How a verb hangs on the command line: a subcommand whose options also come from the environment
// and a config file, and whose outcome becomes the exit code (base/result.h: ErrorKind).
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "base/result.h"

namespace farthing {

// Adds the subcommand, of the app or beneath another verb, with its --config. When it is chosen:
// settings are filled in (cli/settings.h), `body` runs, an error is printed on stderr as one line
// (none for an empty message) and exit_code becomes its kind. Add options to what comes back.
CLI::App* add_verb(CLI::App& app,
                   const std::string& name,
                   const std::string& description,
                   int& exit_code,
                   std::function<Status()> body);

}  // namespace farthing
