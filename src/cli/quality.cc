// The verb `quality`: what a model has lost against a reference, beside what it takes.
#include "measure/quality.h"

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/cpu.h"
#include "cache/kv_store.h"
#include "cli/io.h"
#include "cli/output.h"
#include "cli/scoring.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "measure/logits_file.h"
#include "model/model_work.h"

namespace farthing {
namespace {

struct QualityOptions {
  ScoringOptions scoring;
  std::string reference;
  std::string save_reference;
  WeightMode reference_weights = WeightMode::kNative;
  KVTypes reference_kv_type;
  bool json = false;
};

// A model that scores windows, and what it takes.
struct Scorer {
  std::unique_ptr<LoadedModel> loaded;
  WindowRunner runner;
  KVTypes kv_type;

  static Result<Scorer> open(const std::string& name,
                             LoadOptions load,
                             const EngineOptions& engine) {
    FARTHING_TRY(const std::string path, resolve_model(name));
    FARTHING_TRY(auto loaded, load_model(path, load));
    FARTHING_TRY(WindowRunner runner,
                 WindowRunner::create(*loaded->model, scoring_runner(engine), engine.context));
    return Scorer{std::move(loaded), std::move(runner), engine.kv_type};
  }

  Json to_json() const {
    const Work step = ModelWork(*loaded->model, kv_type).of_weights(1, 1);
    const int64_t kv_block = KVStore::bytes_needed(loaded->model->kv_shapes(kv_type), 1);
    return {{"file", loaded->path},
            {"description", loaded->description},
            {"weight_bytes", step.bytes},
            {"bits_per_weight", step.bytes * 16 / step.operations},
            {"kv_bytes_per_token", static_cast<double>(kv_block) / kKVBlockTokens},
            {"workspace_bytes", runner.workspace_bytes()},
            {"tokens_per_second", runner.tokens_per_second()}};
  }
};

// Where the reference's rows come from: a model, or a file that an earlier run saved.
class Reference {
 public:
  static Result<Reference> open(const QualityOptions& options) {
    Reference reference;
    if (options.reference.empty())
      return usage_error(
          "--reference is missing: give the model to compare with, or a file of --save-reference");
    if (LogitsFile::is_one(options.reference)) {
      if (!options.save_reference.empty())
        return usage_error("--save-reference: the reference is a saved file already");
      FARTHING_TRY(reference.file_, LogitsFile::open(options.reference));
      return reference;
    }
    EngineOptions engine = options.scoring.model.engine;
    const EngineOptions usual;
    engine.kv_type = options.reference_kv_type;
    engine.isa = usual.isa;
    engine.chunk = usual.chunk;
    engine.attention = usual.attention;
    FARTHING_TRY(reference.model_,
                 Scorer::open(options.reference, {.weights = options.reference_weights}, engine));
    return reference;
  }

  // kBadInput unless it can say of these windows what the other model does.
  Status check(const Windows& windows, const LoadedModel& other, const ScoringOptions& options) {
    const int32_t vocab = other.model->spec.vocab_size;
    const int32_t mine = file_ ? file_->vocab_size() : model_->loaded->model->spec.vocab_size;
    if (mine != vocab)
      return bad_input(
          "the reference has {} tokens, the model {}: their vocabularies must be one", mine, vocab);
    if (!file_) {
      FARTHING_TRY(const std::vector<TokenId> tokens,
                   text_tokens(model_->loaded->tokenizer, options.text));
      FARTHING_TRY(const Windows own, windows_of(tokens, model_->loaded->tokenizer, options));
      const bool alike = own.count() == windows.count() && own.at(0) == windows.at(0) &&
                         own.at(own.count() - 1) == windows.at(own.count() - 1);
      if (!alike) return bad_input("the reference cuts the text into other tokens than the model");
      rows_.resize(static_cast<size_t>(windows.n_scored()) * static_cast<size_t>(vocab));
      return {};
    }
    if (file_->window_size() != windows.size() || file_->n_windows() < windows.count())
      return bad_input("the saved reference has {} chunks of {} tokens: give --ctx {} --chunks {}",
                       file_->n_windows(),
                       file_->window_size(),
                       file_->window_size(),
                       file_->n_windows());
    for (int32_t i = 0; i < windows.count(); ++i) {
      if (file_->tokens(i) != windows.at(i))
        return bad_input("chunk {} of the saved reference is of another text", i + 1);
    }
    return {};
  }

  Status save_to(const std::string& path, const Windows& windows) {
    if (path.empty()) return {};
    FARTHING_TRY(
        writer_,
        LogitsWriter::create(
            path, model_->loaded->description, windows, model_->loaded->model->spec.vocab_size));
    return {};
  }

  Result<std::span<const float>> rows(const Windows& windows, int32_t index) {
    if (file_) return file_->rows(index);
    const auto vocab = static_cast<size_t>(model_->loaded->model->spec.vocab_size);
    model_->runner.run(windows, index, [&](int32_t row, std::span<float> logits, TokenId) {
      std::copy_n(logits.begin(), vocab, rows_.begin() + static_cast<ptrdiff_t>(row * vocab));
    });
    if (writer_) FARTHING_TRY_VOID(writer_->add(rows_));
    return std::span<const float>(rows_);
  }

  Status finish() { return writer_ ? writer_->finish() : Status(); }

  Json to_json() const {
    if (file_) return {{"description", file_->description()}, {"saved", true}};
    Json json = model_->to_json();
    json["saved"] = false;
    return json;
  }

 private:
  Reference() = default;
  std::optional<Scorer> model_;
  std::optional<LogitsFile> file_;
  std::optional<LogitsWriter> writer_;
  std::vector<float> rows_;  // of a window, if it is a model
};

Json to_json(const Quality& q) {
  Json json = {{"n_scored", q.n_scored}};
  const auto add = [&](const char* name, const Estimate& e) {
    json[name] = e.value;
    json[std::string(name) + "_ci95"] = {e.low, e.high};
  };
  add("ppl", q.ppl);
  add("ppl_reference", q.ppl_reference);
  add("ppl_ratio", q.ppl_ratio);
  add("kld_mean", q.kld_mean);
  add("kld_median", q.kld_median);
  add("kld_p99", q.kld_p99);
  json["kld_max"] = q.kld_max;
  add("top1_agreement", q.top1_agreement);
  add("rms_dp", q.rms_dp);
  add("mean_dp", q.mean_dp);
  return json;
}

std::string table(
    const Quality& q, const Json& model, const Json& reference, int32_t chunks, int32_t ctx) {
  std::string text;
  const auto line =
      [&](const char* name, const Estimate& e, const char* format, double factor = 1) {
        const auto figure = [&](double x) { return fmt::format(fmt::runtime(format), x * factor); };
        text += fmt::format(
            "{:<24}{:>12}   {} to {}\n", name, figure(e.value), figure(e.low), figure(e.high));
      };
  text += fmt::format("model                   {}\nreference               {}\n\n",
                      model["description"].get<std::string>(),
                      reference["description"].get<std::string>());
  text += fmt::format("{:<24}{:>12}   95 % of the time\n", "", "");
  line("perplexity", q.ppl, "{:.4f}");
  line("of the reference", q.ppl_reference, "{:.4f}");
  line("ratio", q.ppl_ratio, "{:.5f}");
  line("KL divergence, mean", q.kld_mean, "{:.6f}");
  line("  median", q.kld_median, "{:.6f}");
  line("  99 %", q.kld_p99, "{:.5f}");
  text += fmt::format("{:<24}{:>12.4f}\n", "  largest", q.kld_max);
  line("same top token, %", q.top1_agreement, "{:.3f}", 100);
  line("RMS change of p, %", q.rms_dp, "{:.4f}", 100);
  line("mean change of p, %", q.mean_dp, "{:.4f}", 100);
  text += fmt::format("\n{} tokens scored in {} chunks of {}\n\n", q.n_scored, chunks, ctx);
  const auto takes = [&](const char* name, const Json& side) {
    if (!side.contains("weight_bytes")) return;
    text += fmt::format(
        "{:<12}{:.1f} MB of weights a token ({:.2f} bits each), {:.1f} KB of keys and values a "
        "position, {:.0f} prompt tokens/s\n",
        name,
        side["weight_bytes"].get<double>() * 1e-6,
        side["bits_per_weight"].get<double>(),
        side["kv_bytes_per_token"].get<double>() * 1e-3,
        side["tokens_per_second"].get<double>());
  };
  takes("model", model);
  takes("reference", reference);
  text += fmt::format("peak memory {:.0f} MiB\n",
                      static_cast<double>(peak_resident_bytes()) / (1 << 20));
  return text;
}

Status quality(const QualityOptions& options) {
  const ScoringOptions& scoring = options.scoring;
  if (scoring.text.empty())
    return usage_error("--text is missing: give the file to score the models on");
  FARTHING_TRY(Reference reference, Reference::open(options));
  FARTHING_TRY(Scorer model,
               Scorer::open(scoring.model.model, scoring.model.load, scoring.model.engine));
  FARTHING_TRY(const std::vector<TokenId> tokens,
               text_tokens(model.loaded->tokenizer, scoring.text));
  FARTHING_TRY(const Windows windows, windows_of(tokens, model.loaded->tokenizer, scoring));
  FARTHING_TRY_VOID(reference.check(windows, *model.loaded, scoring));
  FARTHING_TRY_VOID(reference.save_to(options.save_reference, windows));
  Result<Quality> measured = Quality();
  {
    ScoringProgress progress(windows.count());
    measured = measure_quality(
        model.runner,
        windows,
        model.loaded->model->spec.vocab_size,
        [&](int32_t window) { return reference.rows(windows, window); },
        [&](int32_t n_done, const Quality& so_far) {
          progress.show(n_done,
                        fmt::format("KL divergence {:.5f}, same top token {:.2f} %",
                                    so_far.kld_mean.value,
                                    100 * so_far.top1_agreement.value));
        });
  }
  if (!measured) return std::move(measured).error();
  FARTHING_TRY_VOID(reference.finish());
  const int32_t ctx = scoring.model.engine.context;
  if (!options.json)
    return write_stdout(
        table(*measured, model.to_json(), reference.to_json(), windows.count(), ctx));
  Json json = to_json(*measured);
  json["chunks"] = windows.count();
  json["ctx"] = ctx;
  json["model"] = model.to_json();
  json["reference"] = reference.to_json();
  json["peak_resident_bytes"] = peak_resident_bytes();
  return write_stdout(to_text(json, 2) + "\n");
}

}  // namespace

void add_quality(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<QualityOptions>();
  CLI::App* verb =
      add_verb(app, "quality", "What a model has lost against a reference", exit_code, [options] {
        return quality(*options);
      });
  add_scoring_options(*verb, options->scoring);
  verb->add_option("--reference",
                   options->reference,
                   "The model to compare with, or a file that --save-reference wrote")
      ->type_name("FILE");
  verb->add_option("--save-reference",
                   options->save_reference,
                   "Keep the reference's distributions (2 bytes per token of the vocabulary and "
                   "position)")
      ->type_name("FILE");
  add_choice<WeightMode>(*verb,
                         "--reference-weights",
                         options->reference_weights,
                         {{"native", WeightMode::kNative}, {"f32", WeightMode::kF32}},
                         "Type that the reference's weights are kept in");
  add_kv_type(*verb,
              "--reference-kv-type",
              options->reference_kv_type,
              "Type of the reference's keys and values");
  verb->add_flag("--json", options->json, "Print one JSON object");
}

}  // namespace farthing
