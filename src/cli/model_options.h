// The options of every verb that loads or runs a model.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "engine/loaded_model.h"

namespace farthing {

struct ModelOptions {
  std::string model = "smollm2";  // a path, or an alias: smollm2, gemma3
  LoadOptions load;
  EngineOptions engine;
  std::string draft_model;  // as model; empty: none
};

// --model only: for verbs that just look at the file.
void add_model_option(CLI::App& verb, std::string& model);

// --model, --ctx, --threads, --isa, --kv-type, --chunk, --kv-cache, --attention, --weights,
// --memory, --speculate and what belongs to it. `options` must outlive the verb.
void add_model_options(CLI::App& verb, ModelOptions& options);

// What --draft-model names, loaded for `target`, and the engine told of it; nothing if there is
// none.
Result<std::unique_ptr<Model>> load_draft_model(ModelOptions& options, const LoadedModel& target);

// A KV type, or K's and V's with a comma: "int8", "int8,int4".
void add_kv_type(CLI::App& verb,
                 const std::string& flag,
                 KVTypes& target,
                 const std::string& description);

// The file behind --model. Aliases are files of the models folder: FARTHING_MODELS_DIR, else
// ${XDG_CACHE_HOME:-~/.cache}/farthing/models. kBadInput, with what to run, if there is none.
Result<std::string> resolve_model(const std::string& model);
// The same of an alias; any other name as it is.
Result<std::string> resolve_alias(const std::string& name);

// "512M", "2G", "1.5GiB", "65536": bytes, units of 1024. kUsage if it is none, or not above 0.
Result<int64_t> parse_bytes(std::string_view text);

// An option with named values; another one is refused with the list of those that exist.
template <class T>
CLI::Option* add_choice(CLI::App& verb,
                        const std::string& flag,
                        T& target,
                        std::vector<std::pair<std::string, T>> choices,
                        const std::string& description) {
  std::string names;
  std::string default_name;
  for (const auto& [name, value] : choices) {
    names += (names.empty() ? "" : "|") + name;
    if (value == target) default_name = name;
  }
  return verb
      .add_option_function<std::string>(
          flag,
          [&target, flag, names, choices = std::move(choices)](const std::string& text) {
            for (const auto& [name, value] : choices) {
              if (name != text) continue;
              target = value;
              return;
            }
            throw CLI::ValidationError(flag, "'" + text + "' is none of " + names);
          },
          description)
      ->type_name(names)
      ->default_str(default_name);
}

}  // namespace farthing
