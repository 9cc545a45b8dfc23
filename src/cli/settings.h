// Options that the command line left out: from the environment (--kv-type is FARTHING_KV_TYPE),
// else from the config file. There a key is the flag's name (kv-type or kv_type), at the top for
// all verbs or in a table named after one verb, which goes first; a list gives an option several
// times. The command line always wins.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "base/result.h"

namespace farthing {

// Fills the options of a verb that was parsed. Bad values and unknown keys are kUsage and name
// where they stand. The config file: --config, FARTHING_CONFIG (must exist), else config.toml in
// ${XDG_CONFIG_HOME:-~/.config}/farthing.
Status apply_settings(CLI::App& verb);

// "FARTHING_KV_TYPE" for "--kv-type".
std::string environment_name(const std::string& flag);

}  // namespace farthing
