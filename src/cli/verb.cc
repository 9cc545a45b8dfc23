#include "cli/verb.h"

#include <cstdio>
#include <memory>
#include <utility>

#include "cli/output.h"
#include "cli/settings.h"

namespace farthing {

CLI::App* add_verb(CLI::App& app,
                   const std::string& name,
                   const std::string& description,
                   int& exit_code,
                   std::function<Status()> body) {
  CLI::App* verb = app.add_subcommand(name, description);
  verb->add_option("--config", "TOML file with options (else ~/.config/farthing/config.toml)")
      ->type_name("FILE");
  verb->callback([verb, &exit_code, body = std::move(body)] {
    if (!verb->get_subcommands().empty()) return;  // the verb beneath this one was meant
    Status status = apply_settings(*verb);
    if (status) status = body();
    exit_code = 0;
    if (status) return;
    // Whoever pressed Ctrl-C needs no message.
    const bool silent = status.error().message.empty();
    exit_code = silent ? static_cast<int>(status.error().kind) : report(status.error(), stderr);
  });
  return verb;
}

}  // namespace farthing
