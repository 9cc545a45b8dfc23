#include "cli/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "base/mapped_file.h"

namespace farthing {
namespace {

constexpr size_t kMostConfigBytes = 1 << 20;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// The flag's name without dashes; empty for positionals and for what can't be preset.
std::string setting_name(const CLI::Option& option) {
  if (option.get_positional() || option.get_lnames().empty()) return {};
  const std::string& name = option.get_lnames().front();
  return name == "help" || name == "version" || name == "config" ? std::string() : name;
}

std::string with_dashes(std::string key) {
  std::replace(key.begin(), key.end(), '_', '-');
  return key;
}

// Sets one option as if the command line had; `source` names it in the error.
Status set_option(CLI::Option& option,
                  const std::vector<std::string>& values,
                  const std::string& source) {
  try {
    for (const std::string& value : values) option.add_result(value);
    option.run_callback();
  } catch (const CLI::Error& error) {
    return usage_error("{}: {}", source, error.what());
  }
  return {};
}

Result<std::string> scalar_text(const toml::node& node, const std::string& source) {
  if (const auto* s = node.as_string()) return s->get();
  if (const auto* i = node.as_integer()) return fmt::format("{}", i->get());
  if (const auto* f = node.as_floating_point()) return fmt::format("{}", f->get());
  if (const auto* b = node.as_boolean()) return std::string(b->get() ? "true" : "false");
  return usage_error("{}: must be a string, a number, true or false, or a list of those", source);
}

Result<std::vector<std::string>> node_texts(const toml::node& node, const std::string& source) {
  std::vector<std::string> texts;
  if (const toml::array* list = node.as_array()) {
    for (const toml::node& element : *list) {
      FARTHING_TRY(std::string text, scalar_text(element, source));
      texts.push_back(std::move(text));
    }
  } else {
    FARTHING_TRY(std::string text, scalar_text(node, source));
    texts.push_back(std::move(text));
  }
  return texts;
}

Result<toml::table> load_config(const CLI::App& verb, std::string& path) {
  const CLI::Option* option = verb.get_option_no_throw("--config");
  if (option && option->count() > 0) {
    path = option->as<std::string>();
  } else {
    path = environment("FARTHING_CONFIG");
  }
  if (path.empty()) {
    std::string folder = environment("XDG_CONFIG_HOME");
    if (folder.empty() && !environment("HOME").empty()) folder = environment("HOME") + "/.config";
    path = folder + "/farthing/config.toml";
    std::error_code ignored;
    if (folder.empty() || !std::filesystem::exists(path, ignored)) return toml::table();
  }
  FARTHING_TRY(const std::string text, read_file(path, kMostConfigBytes));
  toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    return bad_input(
        "{}:{}: {}", path, parsed.error().source().begin.line, parsed.error().description());
  }
  return std::move(parsed).table();
}

// "bench", and "bench-serve" for the verb serve beneath it.
std::string table_name(const CLI::App& verb) {
  const CLI::App* parent = verb.get_parent();
  const bool beneath = parent && parent->get_parent();
  return beneath ? table_name(*parent) + "-" + verb.get_name() : verb.get_name();
}

void add_verbs_beneath(const CLI::App& app, std::vector<const CLI::App*>& verbs) {
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    verbs.push_back(verb);
    add_verbs_beneath(*verb, verbs);
  }
}

bool is_setting_of(const CLI::App& verb, const std::string& key) {
  const std::vector<const CLI::Option*> options = verb.get_options();
  return std::any_of(options.begin(), options.end(), [&](const CLI::Option* option) {
    return setting_name(*option) == key;
  });
}

// A key nobody knows is a typing error, and would be silently without effect.
Status check_keys(const toml::table& config, const std::string& path, const CLI::App& verb) {
  const CLI::App* root = &verb;
  while (root->get_parent()) root = root->get_parent();
  std::vector<const CLI::App*> verbs;
  add_verbs_beneath(*root, verbs);
  for (const auto& [key, node] : config) {
    const std::string name(key.str());
    const auto named = [&](const CLI::App* v) { return table_name(*v) == name; };
    if (const toml::table* table = node.as_table()) {
      const auto owner = std::find_if(verbs.begin(), verbs.end(), named);
      if (owner == verbs.end()) return usage_error("{}: [{}] is no verb of farthing", path, name);
      for (const auto& [inner, value] : *table) {
        if (!is_setting_of(**owner, with_dashes(std::string(inner.str())))) {
          return usage_error("{}: '{}' in [{}] is no option of {}", path, inner.str(), name, name);
        }
      }
    } else if (std::none_of(verbs.begin(), verbs.end(), [&](const CLI::App* v) {
                 return is_setting_of(*v, with_dashes(name));
               })) {
      return usage_error("{}: '{}' is no option of any verb", path, name);
    }
  }
  return {};
}

const toml::node* find_key(const toml::table& table, const std::string& name) {
  for (const auto& [key, node] : table) {
    if (!node.is_table() && with_dashes(std::string(key.str())) == name) return &node;
  }
  return nullptr;
}

}  // namespace

std::string environment_name(const std::string& flag) {
  std::string name = "FARTHING_";
  for (char c : flag.substr(flag.find_first_not_of('-'))) {
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

Status apply_settings(CLI::App& verb) {
  std::string path;
  FARTHING_TRY(const toml::table config, load_config(verb, path));
  FARTHING_TRY_VOID(check_keys(config, path, verb));
  const toml::table* own = config[table_name(verb)].as_table();
  for (CLI::Option* option : verb.get_options()) {
    const std::string name = setting_name(*option);
    if (name.empty() || option->count() > 0) continue;
    const std::string variable = environment_name(name);
    if (const std::string value = environment(variable.c_str()); !value.empty()) {
      FARTHING_TRY_VOID(set_option(*option, {value}, variable));
      continue;
    }
    const toml::node* node = own ? find_key(*own, name) : nullptr;
    if (!node) node = find_key(config, name);
    if (!node) continue;
    const std::string source = fmt::format("{}: {}", path, name);
    FARTHING_TRY(const std::vector<std::string> values, node_texts(*node, source));
    FARTHING_TRY_VOID(set_option(*option, values, source));
  }
  return {};
}

}  // namespace farthing
