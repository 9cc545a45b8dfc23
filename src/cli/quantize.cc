// The verb `quantize`: a model written anew with fewer bits.
#include "convert/quantize.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/utf8.h"
#include "cli/interrupts.h"
#include "cli/io.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/scoring.h"
#include "cli/terminal.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "load/model_file.h"
#include "measure/kld_plan.h"
#include "text/tokenizer.h"

namespace farthing {
namespace {

struct QuantizeOptions {
  std::string in;
  std::string out;
  std::string type;
  std::string imatrix;
  int32_t n_threads = 0;
  double target_kld = 0;  // 0: none
  std::string text;
  int32_t chunks = 4;
  int32_t context = 512;
  bool json = false;
  bool dry_run = false;
};

std::string mix_names() {
  std::string names;
  for (const Mix& mix : all_mixes())
    names += fmt::format("{}{}", names.empty() ? "" : ", ", mix.name);
  return names;
}

std::string shape_text(const TensorView& tensor) {
  return fmt::format("{}",
                     fmt::join(tensor.dims.begin(), tensor.dims.begin() + tensor.n_dims, " x "));
}

double bits_per_weight(int64_t bytes, int64_t n_values) {
  return n_values > 0 ? 8.0 * static_cast<double>(bytes) / static_cast<double>(n_values) : 0;
}

// What the rows can't hold of the type that the mix wants. Without a mix, nothing was wanted.
bool fell_back(const TensorPlan& t, const Mix* mix) {
  return mix != nullptr && t.to != t.tensor->type &&
         t.tensor->cols() % format_of(mix->type).qblock_values != 0;
}

Json json_of(const TensorPlan& t, const Mix* mix, const std::optional<TensorLoss>& loss) {
  Json json = {
      {"name", t.tensor->name},
      {"shape",
       std::vector<int64_t>(t.tensor->dims.begin(), t.tensor->dims.begin() + t.tensor->n_dims)},
      {"from", format_of(t.tensor->type).name},
      {"to", format_of(t.to).name},
      {"bytes", t.bytes()},
      {"fell_back", fell_back(t, mix)},
      {"importance", t.importance != nullptr}};
  if (!loss) return json;
  json["error"] = loss->error;
  if (t.importance != nullptr) json["weighted_error"] = loss->weighted;
  return json;
}

std::string row_text(const TensorPlan& t, const Mix* mix, const std::optional<TensorLoss>& loss) {
  const bool moved = loss && t.to != t.tensor->type;
  return fmt::format("{:<36} {:<16} {:>6} -> {:<6} {:>12}  {}{}\n",
                     printable(t.tensor->name),
                     shape_text(*t.tensor),
                     format_of(t.tensor->type).name,
                     format_of(t.to).name,
                     t.bytes(),
                     moved ? fmt::format("{:.5f}", loss->error) : "",
                     fell_back(t, mix) ? " (rows of other lengths)" : "");
}

// One line that is rewritten, on a terminal.
class QuantizeMeter {
 public:
  explicit QuantizeMeter(const QuantizePlan& plan)
      : plan_(plan), terminal_(is_terminal(STDERR_FILENO)) {}
  ~QuantizeMeter() {
    if (shown_) fmt::print(stderr, "\r\033[K");
  }
  void show(size_t tensor, int64_t values_done) {
    if (!terminal_) return;
    const double share = static_cast<double>(values_done) /
                         static_cast<double>(std::max<int64_t>(1, plan_.n_values()));
    const double seconds = seconds_between(start_, Clock::now());
    fmt::print(stderr,
               "\rtensor {} of {}, {:.0f} %, about {:.0f} s left   ",
               tensor + 1,
               plan_.tensors.size(),
               100 * share,
               seconds / share * (1 - share));
    shown_ = true;
  }

 private:
  const QuantizePlan& plan_;
  bool terminal_;
  bool shown_ = false;
  TimePoint start_ = Clock::now();
};

// What is to be written, and how that was chosen: by a mix, or by what it loses.
struct Chosen {
  const Mix* mix = nullptr;
  std::optional<KldPlan> by_kld;
  QuantizePlan plan;
};

Json json_of(const KldPlan& chosen) {
  Json groups = Json::array();
  for (size_t g = 0; g < chosen.groups.size(); ++g) {
    const KldGroup& group = chosen.groups[g];
    const KldGroup::Option& option = group.options[chosen.chosen[g]];
    groups.push_back({{"name", group.name},
                      {"tensors", group.tensors.size()},
                      {"type", format_of(option.type).name},
                      {"bytes", option.bytes},
                      {"kld", group.sensitivity * option.error}});
  }
  return {{"measured", chosen.kld}, {"groups", groups}};
}

Json json_of(const Chosen& chosen, const std::vector<std::optional<TensorLoss>>& losses) {
  const QuantizePlan& plan = chosen.plan;
  Json tensors = Json::array();
  for (size_t i = 0; i < plan.tensors.size(); ++i)
    tensors.push_back(json_of(plan.tensors[i], chosen.mix, losses[i]));
  Json json = {{"type", chosen.mix != nullptr ? Json(chosen.mix->name) : Json()},
               {"tensors", tensors},
               {"bytes", plan.bytes()},
               {"parameters", plan.n_values()},
               {"bits_per_weight", bits_per_weight(plan.bytes(), plan.n_values())}};
  if (chosen.by_kld) json["kld"] = json_of(*chosen.by_kld);
  return json;
}

std::string totals_text(const QuantizePlan& plan) {
  int64_t before = 0;
  for (const TensorPlan& t : plan.tensors) before += t.tensor->size_bytes();
  return fmt::format(
      "{} tensors, {:.1f} M parameters: {:.1f} MB at {:.2f} bits per weight -> "
      "{:.1f} MB at {:.2f}\n",
      plan.tensors.size(),
      static_cast<double>(plan.n_values()) * 1e-6,
      static_cast<double>(before) * 1e-6,
      bits_per_weight(before, plan.n_values()),
      static_cast<double>(plan.bytes()) * 1e-6,
      bits_per_weight(plan.bytes(), plan.n_values()));
}

// What was lost before can't be seen any more: said, not refused.
void warn_of_quantised(const QuantizePlan& plan) {
  int64_t n = 0;
  for (const TensorPlan& t : plan.tensors)
    n += t.to != t.tensor->type && format_of(t.tensor->type).qblock_values > 1 ? 1 : 0;
  if (n > 0)
    fmt::print(stderr,
               "note: {} tensors are quantised already: what that lost stays lost, and errors are "
               "against what is left\n",
               n);
}

Result<KldPlan> choose_by_kld(const QuantizeOptions& options,
                              const ModelFile& file,
                              const ImportanceMatrix* importance,
                              Interrupts& interrupts) {
  auto tokenizer_made = make_tokenizer(file);
  if (!tokenizer_made) return std::move(tokenizer_made).error().in(options.in);
  const Tokenizer tokenizer = *std::move(tokenizer_made);
  ScoringOptions scoring;
  scoring.text = options.text;
  scoring.chunks = options.chunks;
  scoring.model.engine.context = options.context;
  FARTHING_TRY(const std::vector<TokenId> tokens, text_tokens(tokenizer, options.text));
  FARTHING_TRY(const Windows windows, windows_of(tokens, tokenizer, scoring));
  const bool terminal = is_terminal(STDERR_FILENO);
  KldPlanOptions kld{.target = options.target_kld};
  kld.runner.n_threads = options.n_threads;
  kld.progress = [&](std::string_view what, int32_t n_done, int32_t n_all) {
    if (terminal)
      fmt::print(stderr, "\r\033[Kmeasuring {} of {}: {}", n_done, n_all, printable(what));
    return !interrupts.take();
  };
  auto plan = plan_for_kld(file, importance, windows, kld);
  if (terminal) fmt::print(stderr, "\r\033[K");
  return plan;
}

Status check(const QuantizeOptions& options) {
  if (options.target_kld == 0 && options.type.empty())
    return usage_error("--type is missing: give one of {}", mix_names());
  if (!options.type.empty() && mix_from_name(options.type) == nullptr)
    return usage_error("--type {}: is none of {}", options.type, mix_names());
  if (options.target_kld != 0 && !options.type.empty())
    return usage_error("--target-kld chooses the types: leave --type out");
  if (options.target_kld != 0 && options.text.empty())
    return usage_error("--text is missing: --target-kld measures on a text");
  if (options.out.empty() && !options.dry_run)
    return usage_error("OUT is missing: give the file to write, or --dry-run");
  std::error_code error;
  for (const std::string& read : {options.imatrix, options.text}) {
    if (!options.out.empty() && std::filesystem::equivalent(read, options.out, error))
      return usage_error("{}: is what is read: write to another file", options.out);
  }
  return {};
}

Status quantize(const QuantizeOptions& options) {
  FARTHING_TRY_VOID(check(options));
  FARTHING_TRY(const std::string in, resolve_model(options.in));
  FARTHING_TRY(const ModelFile file, open_model_file(in));
  std::optional<ImportanceMatrix> importance;
  if (!options.imatrix.empty()) {
    FARTHING_TRY(importance, read_importance(options.imatrix));
  }
  const ImportanceMatrix* const weights = importance ? &*importance : nullptr;
  FARTHING_TRY(Interrupts interrupts, Interrupts::create());
  Chosen chosen{.mix = mix_from_name(options.type)};
  if (chosen.mix != nullptr) {
    FARTHING_TRY(chosen.plan, plan_quantize(file, *chosen.mix, weights));
  } else {
    FARTHING_TRY(chosen.by_kld, choose_by_kld(options, file, weights, interrupts));
    chosen.plan = chosen.by_kld->plan;
  }
  const QuantizePlan& plan = chosen.plan;
  std::vector<std::optional<TensorLoss>> losses(plan.tensors.size());
  if (!options.dry_run) {
    warn_of_quantised(plan);
    ThreadTeam team(options.n_threads > 0 ? options.n_threads : cpu_budget().threads);
    QuantizeMeter meter(plan);
    FARTHING_TRY_VOID(write_quantized(
        plan, options.out, team, [&](size_t tensor, int64_t values_done, const TensorLoss* loss) {
          if (loss != nullptr) losses[tensor] = *loss;
          meter.show(tensor, values_done);
          return !interrupts.take();
        }));
  }
  if (options.json) return write_stdout(to_text(json_of(chosen, losses), 2) + "\n");
  std::string text = fmt::format("{:<36} {:<16} {:>6}    {:<6} {:>12}  {}\n",
                                 "tensor",
                                 "shape",
                                 "from",
                                 "to",
                                 "bytes",
                                 "error");
  for (size_t i = 0; i < plan.tensors.size(); ++i)
    text += row_text(plan.tensors[i], chosen.mix, losses[i]);
  text += totals_text(plan);
  if (chosen.by_kld)
    text += fmt::format("KL divergence {:.6f} (weights alone; target {})\n",
                        chosen.by_kld->kld,
                        options.target_kld);
  return write_stdout(text);
}

}  // namespace

void add_quantize(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<QuantizeOptions>();
  CLI::App* verb =
      add_verb(app, "quantize", "Write a model anew with fewer bits", exit_code, [options] {
        return quantize(*options);
      });
  verb->add_option("IN", options->in, "A GGUF file, or smollm2, gemma3")->required();
  verb->add_option("OUT", options->out, "The GGUF file to write");
  verb->add_option("--type", options->type, "One of " + mix_names())->type_name("TYPE");
  verb->add_option("--imatrix",
                   options->imatrix,
                   "Importance matrix (of `farthing imatrix`, or llama.cpp's): errors are weighed "
                   "by it")
      ->type_name("FILE");
  verb->add_option("--threads",
                   options->n_threads,
                   "Threads (default: what affinity, quota and cores allow)")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  verb->add_option_function<double>(
          "--target-kld",
          [options](const double& target) {
            if (!(target > 0) || !std::isfinite(target))
              throw CLI::ValidationError("--target-kld", "must be a number above 0");
            options->target_kld = target;
          },
          "Instead of --type: choose types that lose at most this KL divergence on --text, at the "
          "fewest bytes")
      ->type_name("X");
  verb->add_option("--text", options->text, "With --target-kld: the text to measure on")
      ->type_name("FILE");
  verb->add_option("--chunks", options->chunks, "With --target-kld: most chunks of the text")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->type_name("N");
  verb->add_option("--ctx", options->context, "With --target-kld: tokens of a chunk")
      ->check(CLI::Range(3, 1 << 24))
      ->capture_default_str()
      ->type_name("N");
  verb->add_flag("--json", options->json, "Print one JSON object");
  verb->add_flag("--dry-run", options->dry_run, "Say what would be written, and write nothing");
}

}  // namespace farthing
