#include "cli/verb.h"

#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <utility>

#include "cli/settings.h"

namespace farthing {

int report_error(const Error& error) {
  if (!error.message.empty()) fmt::print(stderr, "farthing: {}\n", error.message);
  return static_cast<int>(error.kind);
}

CLI::App* add_verb(CLI::App& app,
                   const std::string& name,
                   const std::string& description,
                   int& exit_code,
                   std::function<Status()> body) {
  CLI::App* verb = app.add_subcommand(name, description);
  verb->add_option("--config", "TOML file with options (else ~/.config/farthing/config.toml)")
      ->type_name("FILE");
  verb->callback([verb, &exit_code, body = std::move(body)] {
    Status status = apply_settings(*verb);
    if (status) status = body();
    exit_code = status ? 0 : report_error(status.error());
  });
  return verb;
}

}  // namespace farthing
