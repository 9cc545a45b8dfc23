#include "cli/check.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "base/utf8.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "load/model_file.h"
#include "model/registry.h"
#include "model/weights.h"

namespace farthing {
namespace {

int64_t total_bytes(const ModelFile& file) {
  int64_t bytes = 0;
  for (const MappedFile& mapped : file.files) bytes += static_cast<int64_t>(mapped.bytes().size());
  return bytes;
}

std::string summary(const ModelFile& file) {
  std::string text = file.format;
  if (!file.architecture.empty()) text += ", " + file.architecture;
  if (file.files.size() > 1) text += fmt::format(", {} shards", file.files.size());
  text += fmt::format(", {} tensors", file.tensors.size());
  if (file.vocab) text += fmt::format(", {} tokens", file.vocab->tokens.size());
  if (file.tensors.empty()) text += " (a vocabulary only)";
  for (const std::string& note : file.notes) text += "; note: " + note;
  return text;
}

Json to_json(const std::string& path, const ModelFile& file) {
  return Json{{"ok", true},
              {"file", path},
              {"format", file.format},
              {"architecture", file.architecture},
              {"shards", file.files.size()},
              {"bytes", total_bytes(file)},
              {"tensors", file.tensors.size()},
              {"tokens", file.vocab ? Json(file.vocab->tokens.size()) : Json()},
              {"vocabulary_only", file.tensors.empty()},
              {"notes", file.notes}};
}

// What the file says must make a model: hyper-parameters in range, every tensor there in its shape.
Result<ModelFile> open_checked(const std::string& path) {
  FARTHING_TRY(ModelFile file, open_model_file(path));
  if (file.tensors.empty()) return file;
  const auto where = [&](Error error) { return std::move(error).in(printable(path, 4096)); };
  auto spec = build_spec(file);
  if (!spec) return where(std::move(spec).error());
  auto weights = weights_memory(*spec, file, WeightMode::kNative);
  if (!weights) return where(std::move(weights).error());
  return file;
}

int refuse(const Error& error, const std::string& path, bool json, std::FILE* out, std::FILE* err) {
  if (!json) return report(error, err);
  const int code = static_cast<int>(error.kind);
  write(
      out,
      to_text(Json{{"ok", false}, {"file", path}, {"exit_code", code}, {"error", error.message}}) +
          "\n");
  const int lost = finish(out, err);
  return lost != 0 ? lost : code;
}

}  // namespace

int check_file(const std::string& path, bool json, std::FILE* out, std::FILE* err) {
  const auto file = open_checked(path);
  if (!file) return refuse(file.error(), path, json, out, err);
  if (json) {
    write(out, to_text(to_json(path, *file)) + "\n");
  } else {
    write(out, fmt::format("ok: {}: {}\n", printable(path, 4096), summary(*file)));
  }
  return finish(out, err);
}

void add_check(CLI::App& app, int& exit_code) {
  struct Options {
    std::string path;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* verb =
      app.add_subcommand("check", "Validate a model file: exit 0 and one line, or 3 and why not");
  verb->add_option(
          "FILE",
          options->path,
          "A GGUF file (any shard of a split one), a Hugging Face folder, or smollm2, gemma3")
      ->required();
  verb->add_flag("--json", options->json, "One JSON object");
  verb->callback([options, &exit_code] {
    const auto path = resolve_alias(options->path);
    exit_code =
        path ? check_file(*path, options->json, stdout, stderr) : report(path.error(), stderr);
  });
}

}  // namespace farthing
