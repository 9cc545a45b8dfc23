#include "cli/model_options.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <optional>

#include "base/nearest.h"
#include "kernels/isa.h"

namespace farthing {
namespace {

struct Alias {
  std::string_view name;
  std::string_view file;
};
constexpr Alias kAliases[] = {
    {"smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"},
    {"gemma3", "gemma-3-270m-q4_k_m.gguf"},
};

constexpr int32_t kMostContext = 1 << 24;
constexpr int32_t kMostThreads = 1024;

Result<std::filesystem::path> models_folder() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::filesystem::path(value ? value : "");
  };
  if (auto folder = variable("FARTHING_MODELS_DIR"); !folder.empty()) return folder;
  if (auto cache = variable("XDG_CACHE_HOME"); !cache.empty()) return cache / "farthing" / "models";
  if (auto home = variable("HOME"); !home.empty()) return home / ".cache" / "farthing" / "models";
  return usage_error(
      "no folder for models: set HOME, XDG_CACHE_HOME or FARTHING_MODELS_DIR, or give --model a "
      "path");
}

void add_engine_numbers(CLI::App& verb, EngineOptions& engine) {
  verb.add_option(
          "--ctx", engine.context, "Most tokens of a sequence (default: the model's, at most 8192)")
      ->check(CLI::Range(1, kMostContext))
      ->type_name("N");
  verb.add_option(
          "--threads", engine.n_threads, "Threads (default: what affinity, quota and cores allow)")
      ->check(CLI::Range(1, kMostThreads))
      ->type_name("N");
  verb.add_option_function<std::string>(
          "--chunk",
          [&engine](const std::string& text) {
            int32_t chunk = 0;
            const auto [end, error] =
                std::from_chars(text.data(), text.data() + text.size(), chunk);
            if (text == "off") {
              chunk = std::numeric_limits<int32_t>::max();
            } else if (error != std::errc() || end != text.data() + text.size() || chunk < 1) {
              throw CLI::ValidationError("--chunk",
                                         "'" + text + "' is neither a number above 0 nor 'off'");
            }
            engine.chunk = chunk;
          },
          "Most prompt tokens computed in one step; off: the whole prompt at once")
      ->type_name("N|off")
      ->default_str(std::to_string(engine.chunk));
  verb.add_option_function<std::string>(
          "--memory",
          [&engine](const std::string& text) {
            Result<int64_t> bytes = parse_bytes(text);
            if (!bytes) throw CLI::ValidationError("--memory", bytes.error().message);
            engine.memory_limit = *bytes;
          },
          "Most memory to use, e.g. 2G (default: the limit of the container or machine)")
      ->type_name("BYTES");
}

}  // namespace

void add_model_option(CLI::App& verb, std::string& model) {
  verb.add_option("--model", model, "GGUF file or Hugging Face folder, or smollm2, gemma3")
      ->type_name("FILE")
      ->capture_default_str();
}

void add_model_options(CLI::App& verb, ModelOptions& options) {
  EngineOptions& engine = options.engine;
  add_model_option(verb, options.model);
  add_engine_numbers(verb, engine);
  verb.add_option_function<std::string>(
          "--isa",
          [&engine](const std::string& text) {
            engine.isa = isa_from_name(text);
            if (!engine.isa) {
              throw CLI::ValidationError(
                  "--isa", "'" + text + "' is none of ref|avx2|avxvnni|avx512|avx512vnni");
            }
          },
          "Instruction set of the kernels (default: the best of this CPU)")
      ->type_name("ref|avx2|avxvnni|avx512|avx512vnni");
  add_kv_type(verb, "--kv-type", engine.kv_type, "Type that keys and values are stored in");
  add_choice<bool>(verb,
                   "--kv-cache",
                   engine.kv_cache,
                   {{"on", true}, {"off", false}},
                   "off: compute the whole sequence anew for every token");
  add_choice<AttentionMode>(verb,
                            "--attention",
                            engine.attention,
                            {{"flash", AttentionMode::kFlash}, {"naive", AttentionMode::kNaive}},
                            "naive: the whole row of scores is stored");
  add_choice<bool>(verb,
                   "--prefix-cache",
                   engine.prefix_cache,
                   {{"on", true}, {"off", false}},
                   "off: compute every prompt from its first token");
  add_choice<bool>(verb,
                   "--kv-layout",
                   engine.paged,
                   {{"paged", true}, {"contiguous", false}},
                   "contiguous: a sequence reserves room for all its possible tokens at once");
  add_choice<Speculation>(verb,
                          "--speculate",
                          engine.speculate,
                          {{"off", Speculation::kOff},
                           {"lookup", Speculation::kLookup},
                           {"suffix", Speculation::kSuffix},
                           {"draft", Speculation::kDraft},
                           {"self", Speculation::kSelf}},
                          "Guess tokens and compute several at once, which changes no answer. "
                          "lookup: what the text had before; suffix: and earlier answers; draft: "
                          "what --draft-model says; self: what the model's first layers say");
  verb.add_option("--draft-model",
                  options.draft_model,
                  "With --speculate draft: a smaller model with the same vocabulary")
      ->type_name("FILE");
  verb.add_option("--draft-layers",
                  engine.draft_layers,
                  "With --speculate self: so many layers (default: a quarter of them)")
      ->check(CLI::Range(1, 1 << 16))
      ->type_name("N");
  verb.add_option("--draft",
                  engine.draft_tokens,
                  "With --speculate: tokens guessed at a time (default: as many as pay)")
      ->check(CLI::Range(1, 15))
      ->type_name("N");
  add_choice<WeightMode>(
      verb,
      "--weights",
      options.load.weights,
      {{"native", WeightMode::kNative}, {"f32", WeightMode::kF32}, {"int8", WeightMode::kInt8}},
      "Type that weights are kept in; native: as in the file");
}

Result<std::unique_ptr<Model>> load_draft_model(ModelOptions& options, const LoadedModel& target) {
  if (options.draft_model.empty()) return std::unique_ptr<Model>();
  FARTHING_TRY(const std::string path, resolve_model(options.draft_model));
  FARTHING_TRY(auto model, load_draft_model(path, options.load, target));
  options.engine.draft_model = model.get();
  return model;
}

namespace {

std::string kv_type_names() {
  std::string names;
  for (const KVType type : kKVTypes)
    names += (names.empty() ? "" : "|") + std::string(kv_type_name(type));
  return names;
}

}  // namespace

void add_kv_type(CLI::App& verb,
                 const std::string& flag,
                 KVTypes& target,
                 const std::string& description) {
  verb.add_option_function<std::string>(
          flag,
          [&target, flag](const std::string& text) {
            const auto type = [&](std::string_view name) {
              if (const std::optional<KVType> found = kv_type_from_name(name)) return *found;
              throw CLI::ValidationError(flag,
                                         fmt::format("'{}' is none of {}", name, kv_type_names()));
            };
            const size_t comma = text.find(',');
            const KVType k = type(std::string_view(text).substr(0, comma));
            target = {k, comma == text.npos ? k : type(std::string_view(text).substr(comma + 1))};
          },
          description + "; two: of keys, of values")
      ->type_name(kv_type_names() + "[,...]")
      ->default_str(kv_types_name(target));
}

Result<std::string> resolve_alias(const std::string& name) {
  std::error_code error;
  for (const Alias& alias : kAliases) {
    if (name != alias.name) continue;
    FARTHING_TRY(const std::filesystem::path folder, models_folder());
    std::filesystem::path file = folder / alias.file;
    if (std::filesystem::exists(file, error)) return file.string();
    return bad_input(
        "model {} is not there ({}): run ./quickstart or tools/fetch_model.sh {}, or give --model "
        "a GGUF file",
        name,
        file.string(),
        name);
  }
  return name;
}

Result<std::string> resolve_model(const std::string& name) {
  FARTHING_TRY(std::string model, resolve_alias(name));
  std::error_code error;
  if (model.empty())
    return usage_error(
        "--model is empty: give a GGUF file, a Hugging Face folder, smollm2 or gemma3");
  if (!std::filesystem::exists(model, error)) {
    std::vector<std::string> names;
    for (const Alias& alias : kAliases) names.emplace_back(alias.name);
    const std::string near = nearest(model, names);
    return bad_input(
        "{}: no such file{} (--model takes a GGUF file, a Hugging Face folder, smollm2 or gemma3)",
        model,
        near.empty() ? "" : "; did you mean " + near + "?");
  }
  return model;
}

Result<int64_t> parse_bytes(std::string_view text) {
  const auto refuse = [&] {
    return usage_error("'{}' is no size: write e.g. 512M, 2G or 1.5GiB", text);
  };
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || !std::isfinite(number)) return refuse();
  std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  if (unit.ends_with("iB")) {
    unit.remove_suffix(2);
    if (unit.empty()) return refuse();
  } else if (unit.ends_with('B')) {
    unit.remove_suffix(1);
  }
  static constexpr std::string_view kUnits = "KMGT";
  double scale = 1;
  if (unit.size() > 1) return refuse();
  if (unit.size() == 1) {
    const size_t power = kUnits.find(unit[0] == 'k' ? 'K' : unit[0]);
    if (power == std::string_view::npos) return refuse();
    scale = std::ldexp(1.0, 10 * static_cast<int>(power + 1));
  }
  const double bytes = number * scale;
  if (!(bytes >= 1) || bytes >= 0x1p62) return refuse();
  return static_cast<int64_t>(bytes);
}

}  // namespace farthing
