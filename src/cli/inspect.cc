#include "cli/inspect.h"

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <vector>

#include "base/utf8.h"
#include "cli/memory_need.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "load/model_file.h"

namespace farthing {
namespace {

constexpr uint64_t kShortArray = 16;         // longer arrays are abbreviated to
constexpr uint64_t kFirstElements = 8;       // this many elements
constexpr size_t kMaxStringInJson = 65'536;  // bytes
constexpr size_t kMaxElementText = 40;

struct TypeTotal {
  int64_t tensors = 0;
  int64_t values = 0;
  int64_t bytes = 0;
};

std::map<std::string_view, TypeTotal> totals_by_type(const ModelFile& file) {
  std::map<std::string_view, TypeTotal> totals;
  for (const TensorView& tensor : file.tensors) {
    TypeTotal& total = totals[format_of(tensor.type).name];
    ++total.tensors;
    total.values += tensor.size();
    total.bytes += tensor.size_bytes();
  }
  return totals;
}

struct Place {
  size_t file = 0;
  uint64_t offset = 0;
};

Place place_of(const TensorView& tensor, const ModelFile& model) {
  for (size_t i = 0; i < model.files.size(); ++i) {
    const auto bytes = model.files[i].bytes();
    const std::byte* at = tensor.bytes.data();
    if (at >= bytes.data() && at < bytes.data() + bytes.size()) {
      return {i, static_cast<uint64_t>(at - bytes.data())};
    }
  }
  return {};
}

std::vector<int64_t> shape_of(const TensorView& tensor) {
  return {tensor.dims.begin(), tensor.dims.begin() + tensor.n_dims};
}

// --- JSON. Written piece by piece, so that a large file needs little memory.

Json json_of(const MetaValue& value);

Json json_of_array(const MetaArray& array) {
  const bool whole = array.count <= kShortArray;
  Json elements = Json::array();
  for (const MetaValue& element :
       first_elements(array, whole ? array.count : kFirstElements, kMaxStringInJson)) {
    elements.push_back(json_of(element));
  }
  if (whole) return elements;
  return Json{{"type", meta_type_name(array.element)}, {"count", array.count}, {"first", elements}};
}

Json json_of(const MetaValue& value) {
  struct Visitor {
    Json operator()(const std::string& s) const { return s.substr(0, kMaxStringInJson); }
    Json operator()(const MetaArray& a) const { return json_of_array(a); }
    Json operator()(bool b) const { return b; }
    Json operator()(int64_t n) const { return n; }
    Json operator()(uint64_t n) const { return n; }
    Json operator()(double x) const { return x; }  // JSON has no infinity or NaN: those become null
  };
  return std::visit(Visitor{}, value);
}

Json json_of(const TensorView& tensor, const ModelFile& file) {
  const Place place = place_of(tensor, file);
  Json out{{"name", tensor.name},
           {"type", format_of(tensor.type).name},
           {"shape", shape_of(tensor)},
           {"bytes", tensor.size_bytes()},
           {"offset", place.offset}};
  if (file.files.size() > 1) out["file"] = place.file;
  return out;
}

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

double percent_over(int64_t bytes, int64_t base) {
  return base > 0 ? 100.0 * (static_cast<double>(bytes) / static_cast<double>(base) - 1) : 0;
}

std::string_view tokenizer_how(const RunMemory& run) {
  return run.tokenizer_measured ? "measured" : "bound from the vocabulary's sizes";
}

Json json_of(const RunMemory& run, int64_t tensor_bytes) {
  return {{"context", run.context},
          {"threads", run.n_threads},
          {"weights_bytes", run.weights},
          {"weights_percent_over_tensors", percent_over(run.weights, tensor_bytes)},
          {"kv_bytes", run.kv},
          {"workspace_bytes", run.workspace},
          {"vocabulary_bytes", run.vocabulary},
          {"tokenizer_bytes", run.tokenizer},
          {"tokenizer_is", tokenizer_how(run)},
          {"program_bytes", run.program},
          {"total_bytes", run.total()}};
}

Json json_of(const MemoryNeed& need) {
  return {{"weights_bytes", need.weights},
          {"parameters", need.parameters},
          {"kv_type", "F16"},
          {"kv_bytes_per_token", or_null(need.kv_per_token)},
          {"context_length", or_null(need.context_length)},
          {"kv_bytes_full_context", or_null(need.kv_full_context)},
          {"run", need.run ? json_of(*need.run, need.weights) : Json()},
          {"run_unknown", need.run ? Json() : Json(need.run.error().message)}};
}

Json json_of(const std::map<std::string_view, TypeTotal>& totals) {
  Json out = Json::object();
  for (const auto& [name, total] : totals) {
    out[std::string(name)] = {
        {"tensors", total.tensors}, {"parameters", total.values}, {"bytes", total.bytes}};
  }
  return out;
}

void write_json(const ModelFile& file, std::FILE* out) {
  write(out, fmt::format("{{\"format\": {},\n", to_text(file.format)));
  write(out, fmt::format(" \"architecture\": {},\n \"metadata\": {{", to_text(file.architecture)));
  std::string_view separator = "\n";
  for (const auto& [key, value] : file.metadata.values) {
    write(out, fmt::format("{}  {}: {}", separator, to_text(key), to_text(json_of(value))));
    separator = ",\n";
  }
  write(out, "},\n \"tensors\": [");
  separator = "\n";
  for (const TensorView& tensor : file.tensors) {
    write(out, fmt::format("{}  {}", separator, to_text(json_of(tensor, file))));
    separator = ",\n";
  }
  write(out, fmt::format("],\n \"types\": {},\n", to_text(json_of(totals_by_type(file)))));
  write(out, fmt::format(" \"memory\": {},\n", to_text(json_of(memory_need(file)))));
  write(out, fmt::format(" \"notes\": {}}}\n", to_text(file.notes)));
}

// --- Text.

std::string text_of(const MetaValue& value);

std::string text_of_array(const MetaArray& array) {
  const bool whole = array.count <= kFirstElements;
  std::string out = fmt::format("{} {}: [", array.count, meta_type_name(array.element));
  std::string_view separator;
  for (const MetaValue& element : first_elements(array, kFirstElements, 4 * kMaxElementText)) {
    out += separator;
    out += text_of(element);
    separator = ", ";
  }
  return out + (whole ? "]" : ", ...]");
}

std::string text_of(const MetaValue& value) {
  struct Visitor {
    std::string operator()(const std::string& s) const { return printable(s, 2 * kMaxElementText); }
    std::string operator()(const MetaArray& a) const { return text_of_array(a); }
    std::string operator()(bool b) const { return b ? "true" : "false"; }
    std::string operator()(int64_t n) const { return fmt::format("{}", n); }
    std::string operator()(uint64_t n) const { return fmt::format("{}", n); }
    std::string operator()(double x) const {
      // Nearly all are float32: as such, 1e-05 isn't shown as 9.999999747378752e-06.
      const auto narrow = static_cast<float>(x);
      return narrow == x ? fmt::format("{}", narrow) : fmt::format("{}", x);
    }
  };
  return std::visit(Visitor{}, value);
}

std::string size_text(int64_t bytes) {
  if (bytes < 1 << 20) return fmt::format("{:.1f} KiB", static_cast<double>(bytes) / (1 << 10));
  if (bytes < 1 << 30) return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
  return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / (1 << 30));
}

std::string shape_text(const TensorView& tensor) {
  return tensor.n_dims == 0 ? "scalar" : fmt::format("{}", fmt::join(shape_of(tensor), " x "));
}

void write_run_memory(const MemoryNeed& need, std::FILE* out) {
  if (!need.run) {
    write(out, fmt::format("\nmemory of run\n  unknown: {}\n", need.run.error().message));
    return;
  }
  const RunMemory& run = *need.run;
  write(out,
        fmt::format("\nmemory of run, at most (context {}, {} threads)\n"
                    "  weights as tiles     {} ({:+.1f} % over the tensors)\n"
                    "  keys and values      {}\n"
                    "  workspace            {}\n"
                    "  vocabulary           {}\n"
                    "  tokenizer            {} ({})\n"
                    "  program, libraries   {}\n"
                    "  sum                  {}\n",
                    run.context,
                    run.n_threads,
                    size_text(run.weights),
                    percent_over(run.weights, need.weights),
                    size_text(run.kv),
                    size_text(run.workspace),
                    size_text(run.vocabulary),
                    size_text(run.tokenizer),
                    tokenizer_how(run),
                    size_text(run.program),
                    size_text(run.total())));
}

void write_model_memory(const MemoryNeed& need, std::FILE* out) {
  write(out, "\nmemory\n");
  write(out,
        fmt::format("  weights              {} ({:.1f} M parameters)\n",
                    size_text(need.weights),
                    static_cast<double>(need.parameters) / 1e6));
  if (!need.kv_per_token) {
    write(out,
          "  keys and values      unknown: the metadata doesn't state layers, heads and their "
          "sizes\n");
    return;
  }
  write(out,
        fmt::format("  keys and values      {} per token (F16)\n", size_text(*need.kv_per_token)));
  if (!need.kv_full_context) return;
  write(out,
        fmt::format(
            "  one full context     {} for {} tokens (less where layers have a sliding window)\n",
            size_text(*need.kv_full_context),
            *need.context_length));
}

void write_memory(const ModelFile& file, std::FILE* out) {
  const MemoryNeed need = memory_need(file);
  write_model_memory(need, out);
  write_run_memory(need, out);
}

void write_text(const ModelFile& file, std::FILE* out) {
  write(out,
        fmt::format("{}, {}\n\nmetadata ({} keys)\n",
                    file.format,
                    file.architecture.empty() ? "no architecture" : file.architecture,
                    file.metadata.values.size()));
  for (const auto& [key, value] : file.metadata.values) {
    write(out, fmt::format("  {:<44} {}\n", printable(key), text_of(value)));
  }
  write(out, fmt::format("\ntensors ({})\n", file.tensors.size()));
  for (const TensorView& tensor : file.tensors) {
    write(out,
          fmt::format("  {:<44} {:<7} {:<18} {}\n",
                      printable(tensor.name),
                      format_of(tensor.type).name,
                      shape_text(tensor),
                      size_text(tensor.size_bytes())));
  }
  write(out, "\ntotals by type\n");
  for (const auto& [name, total] : totals_by_type(file)) {
    write(out,
          fmt::format("  {:<7} {:>5} tensors {:>10.1f} M parameters {:>12}\n",
                      name,
                      total.tensors,
                      static_cast<double>(total.values) / 1e6,
                      size_text(total.bytes)));
  }
  write_memory(file, out);
  for (const std::string& note : file.notes) write(out, fmt::format("note: {}\n", note));
}

}  // namespace

int inspect_file(const std::string& path, bool json, std::FILE* out, std::FILE* err) {
  const auto file = open_model_file(path);
  if (!file) return report(file.error(), err);
  json ? write_json(*file, out) : write_text(*file, out);
  return finish(out, err);
}

void add_inspect(CLI::App& app, int& exit_code) {
  struct Options {
    std::string path;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand("inspect", "Show a model file: metadata, tensors, memory");
  verb->add_option(
          "FILE",
          options->path,
          "A GGUF file (any shard of a split one), a Hugging Face folder, or smollm2, gemma3")
      ->required();
  verb->add_flag("--json", options->json, "One JSON object");
  verb->callback([options, &exit_code] {
    const auto path = resolve_alias(options->path);
    exit_code =
        path ? inspect_file(*path, options->json, stdout, stderr) : report(path.error(), stderr);
  });
}

}  // namespace farthing
