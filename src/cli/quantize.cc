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
#include "base/new_file.h"
#include "base/utf8.h"
#include "cli/interrupts.h"
#include "cli/io.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/quantize_report.h"
#include "cli/scoring.h"
#include "cli/terminal.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "convert/quantize_folder.h"
#include "engine/loaded_model.h"
#include "load/model_file.h"
#include "measure/input_products.h"
#include "measure/kld_plan.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace farthing {
namespace {

struct QuantizeOptions {
  std::string in;
  std::string out;
  std::string type;
  std::string imatrix;
  std::string method;
  int32_t n_threads = 0;
  double target_kld = 0;  // 0: none
  std::string text;
  int32_t chunks = 0;  // 0: as many as is usual for what they are for
  int32_t context = 512;
  bool json = false;
  bool dry_run = false;
};

std::string type_names() {
  std::string names;
  const auto add = [&](std::string_view name) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
  };
  for (const Mix& mix : all_mixes()) add(mix.name);
  for (const FolderType& type : all_folder_types()) add(type.name);
  return names;
}

// One line that is rewritten, on a terminal.
class QuantizeMeter {
 public:
  QuantizeMeter(size_t n_tensors, int64_t n_values)
      : n_tensors_(n_tensors), n_values_(n_values), terminal_(is_terminal(STDERR_FILENO)) {}
  ~QuantizeMeter() {
    if (shown_) fmt::print(stderr, "\r\033[K");
  }
  void show(size_t tensor, int64_t values_done) {
    if (!terminal_) return;
    const double share =
        static_cast<double>(values_done) / static_cast<double>(std::max<int64_t>(1, n_values_));
    const double seconds = seconds_between(start_, Clock::now());
    fmt::print(stderr,
               "\rtensor {} of {}, {:.0f} %, about {:.0f} s left   ",
               tensor + 1,
               n_tensors_,
               100 * share,
               seconds / share * (1 - share));
    shown_ = true;
  }

 private:
  size_t n_tensors_;
  int64_t n_values_;
  bool terminal_;
  bool shown_ = false;
  TimePoint start_ = Clock::now();
};

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

// The windows of --text, and what they point to.
struct TextWindows {
  std::vector<TokenId> tokens;
  std::optional<Windows> windows;
};

Result<std::unique_ptr<TextWindows>> windows_of_text(const QuantizeOptions& options,
                                                     const ModelFile& file,
                                                     int32_t usual_chunks) {
  auto tokenizer = make_tokenizer(file);
  if (!tokenizer) return std::move(tokenizer).error().in(options.in);
  ScoringOptions scoring;
  scoring.text = options.text;
  scoring.chunks = options.chunks > 0 ? options.chunks : usual_chunks;
  scoring.model.engine.context = options.context;
  auto out = std::make_unique<TextWindows>();
  FARTHING_TRY(out->tokens, text_tokens(*tokenizer, options.text));
  FARTHING_TRY(out->windows, windows_of(out->tokens, *tokenizer, scoring));
  return out;
}

Result<KldPlan> choose_by_kld(const QuantizeOptions& options,
                              const ModelFile& file,
                              const ImportanceMatrix* importance,
                              Interrupts& interrupts) {
  constexpr int32_t kChunks = 4;
  FARTHING_TRY(const auto text, windows_of_text(options, file, kChunks));
  const bool terminal = is_terminal(STDERR_FILENO);
  KldPlanOptions kld{.target = options.target_kld};
  kld.runner.n_threads = options.n_threads;
  kld.progress = [&](std::string_view what, int32_t n_done, int32_t n_all) {
    if (terminal)
      fmt::print(stderr, "\r\033[Kmeasuring {} of {}: {}", n_done, n_all, printable(what));
    return !interrupts.take();
  };
  auto plan = plan_for_kld(file, importance, *text->windows, kld);
  if (terminal) fmt::print(stderr, "\r\033[K");
  return plan;
}

Status check(const QuantizeOptions& options) {
  if (options.target_kld == 0 && options.type.empty())
    return usage_error("--type is missing: give one of {}", type_names());
  const FolderType* const folder = folder_type_from_name(options.type);
  if (!options.type.empty() && mix_from_name(options.type) == nullptr && folder == nullptr)
    return usage_error("--type {}: is none of {}", options.type, type_names());
  if (options.target_kld != 0 && !options.type.empty())
    return usage_error("--target-kld chooses the types: leave --type out");
  if (options.target_kld != 0 && options.text.empty())
    return usage_error("--text is missing: --target-kld measures on a text");
  const bool is_int4 = folder != nullptr && folder->kind == FolderType::Kind::kInt4;
  if (!options.method.empty() && !is_int4)
    return usage_error("--method chooses how INT4 is made: leave it out for other types");
  if (options.method == "feedback" && options.text.empty())
    return usage_error("--text is missing: error feedback is calibrated on a text");
  if (options.target_kld == 0 && !options.text.empty() && !is_int4)
    return usage_error("--text is for --target-kld, and to calibrate INT4: leave it out");
  if (options.out.empty() && !options.dry_run)
    return usage_error("OUT is missing: give the file to write, or --dry-run");
  std::error_code error;
  for (const std::string& read : {options.imatrix, options.text}) {
    if (!options.out.empty() && std::filesystem::equivalent(read, options.out, error))
      return usage_error("{}: is what is read: write to another file", options.out);
  }
  return {};
}

// ---- folders ----

// Unweighted, the scales of least error cut off what large inputs need: worse than plain rounding
// on SmolLM2 (docs/quality.md).
Int4Method method_of(const QuantizeOptions& options) {
  if (options.method == "nearest") return Int4Method::kNearest;
  if (options.method == "fit") return Int4Method::kFit;
  if (options.method == "feedback" || !options.text.empty()) return Int4Method::kFeedback;
  return options.imatrix.empty() ? Int4Method::kNearest : Int4Method::kFit;
}

// A model that runs over a text for its inputs' products, and what it needs.
struct Calibration {
  std::unique_ptr<TextWindows> text;
  std::unique_ptr<Model> model;
  std::optional<InputProducts> products;
};

// `in` is opened a second time: the model owns its file. `widest`: columns of its widest matrix.
Result<std::unique_ptr<Calibration>> calibrate(const QuantizeOptions& options,
                                               const std::string& in,
                                               int64_t widest,
                                               Interrupts& interrupts) {
  auto out = std::make_unique<Calibration>();
  FARTHING_TRY(ModelFile file, open_model_file(in));
  constexpr int32_t kChunks = 32;
  FARTHING_TRY(out->text, windows_of_text(options, file, kChunks));
  FARTHING_TRY(out->model, make_model(std::move(file), WeightMode::kNative));
  const int64_t free = memory_budget().available;
  const int64_t needed =
      feedback_bytes(widest) + widest * widest * static_cast<int64_t>(sizeof(float));
  if (free > 0 && needed > free)
    return no_resource(
        "error feedback takes {} MiB for rows of {} values, but {} MiB are free: take another "
        "--method",
        needed >> 20,
        widest,
        free >> 20);
  const bool terminal = is_terminal(STDERR_FILENO);
  const Windows& windows = *out->text->windows;
  out->products.emplace(
      *out->model,
      RunnerOptions{.n_threads = options.n_threads},
      windows,
      free > 0 ? free / 4 : int64_t{4} << 30,
      [&interrupts, terminal, n = windows.count()](int32_t layer, int32_t n_done) {
        if (terminal)
          fmt::print(stderr, "\r\033[Kinputs from layer {}: chunk {} of {}", layer, n_done, n);
        return !interrupts.take();
      });
  return out;
}

Status quantize_to_folder(const QuantizeOptions& options,
                          const FolderType& type,
                          const std::string& in,
                          const ModelFile& file,
                          const ImportanceMatrix* importance) {
  FARTHING_TRY(const FolderPlan plan, plan_folder(file, in, type, importance));
  TensorLosses losses(plan.matrices.size());
  if (!options.dry_run) {
    FARTHING_TRY(Interrupts interrupts, Interrupts::create());
    FolderOptions how{.method = method_of(options)};
    std::unique_ptr<Calibration> calibration;
    if (how.method == Int4Method::kFeedback) {
      FARTHING_TRY(calibration, calibrate(options, in, plan.widest(), interrupts));
      how.products_of = [&](const std::string& tensor) {
        return calibration->products->of(tensor);
      };
    }
    ThreadTeam team(options.n_threads > 0 ? options.n_threads : cpu_budget().threads);
    QuantizeMeter meter(plan.matrices.size(), plan.n_values());
    FARTHING_TRY_VOID(write_folder(
        plan, options.out, how, team, [&](size_t matrix, int64_t done, const TensorLoss* loss) {
          losses[matrix] = *loss;
          meter.show(matrix, done);
          return !interrupts.take();
        }));
  }
  return write_stdout(options.json ? to_text(folder_json(plan, losses), 2) + "\n"
                                   : folder_table(plan, losses));
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
  if (const FolderType* const type = folder_type_from_name(options.type))
    return quantize_to_folder(options, *type, in, file, weights);
  FARTHING_TRY(Interrupts interrupts, Interrupts::create());
  Chosen chosen{.mix = mix_from_name(options.type)};
  if (chosen.mix != nullptr) {
    FARTHING_TRY(chosen.plan, plan_quantize(file, *chosen.mix, weights));
  } else {
    if (!options.dry_run) {
      FARTHING_TRY_VOID(check_not_read(file, options.out));
      FARTHING_TRY_VOID(NewFile::check(options.out));
    }
    FARTHING_TRY(chosen.by_kld, choose_by_kld(options, file, weights, interrupts));
    chosen.target_kld = options.target_kld;
    chosen.plan = chosen.by_kld->plan;
  }
  const QuantizePlan& plan = chosen.plan;
  TensorLosses losses(plan.tensors.size());
  if (!options.dry_run) {
    warn_of_quantised(plan);
    ThreadTeam team(options.n_threads > 0 ? options.n_threads : cpu_budget().threads);
    QuantizeMeter meter(plan.tensors.size(), plan.n_values());
    FARTHING_TRY_VOID(write_quantized(
        plan, options.out, team, [&](size_t tensor, int64_t values_done, const TensorLoss* loss) {
          if (loss != nullptr) losses[tensor] = *loss;
          meter.show(tensor, values_done);
          return !interrupts.take();
        }));
  }
  if (options.json) return write_stdout(to_text(quantize_json(chosen, losses), 2) + "\n");
  return write_stdout(quantize_table(chosen, losses));
}

}  // namespace

void add_quantize(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<QuantizeOptions>();
  CLI::App* verb =
      add_verb(app, "quantize", "Write a model anew with fewer bits", exit_code, [options] {
        return quantize(*options);
      });
  verb->add_option("IN", options->in, "A GGUF file, a Hugging Face folder, or smollm2, gemma3")
      ->required();
  verb->add_option(
      "OUT", options->out, "The GGUF file to write; for int4, int8 and fp8 the folder");
  verb->add_option("--type", options->type, "One of " + type_names())->type_name("TYPE");
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
  verb->add_option("--text",
                   options->text,
                   "The text that --target-kld measures on, or that INT4 is calibrated on")
      ->type_name("FILE");
  verb->add_option(
          "--method",
          options->method,
          "How INT4 is made: plainly rounded (the default), with the scales of least error "
          "(the default with --imatrix), or with error feedback (with --text)")
      ->check(CLI::IsMember({"nearest", "fit", "feedback"}))
      ->type_name("HOW");
  verb->add_option("--chunks",
                   options->chunks,
                   "Most chunks of the text (default: 4 to measure on, 32 to calibrate on)")
      ->check(CLI::Range(1, 1 << 20))
      ->type_name("N");
  verb->add_option("--ctx", options->context, "Tokens of a chunk")
      ->check(CLI::Range(3, 1 << 24))
      ->capture_default_str()
      ->type_name("N");
  verb->add_flag("--json", options->json, "Print one JSON object");
  verb->add_flag("--dry-run", options->dry_run, "Say what would be written, and write nothing");
}

}  // namespace farthing
