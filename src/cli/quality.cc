// The verb `quality`: what a model has lost against a reference, beside what it takes.
#include "measure/quality.h"

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/cpu.h"
#include "base/new_file.h"
#include "cache/kv_store.h"
#include "cli/interrupts.h"
#include "cli/io.h"
#include "cli/output.h"
#include "cli/scoring.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "measure/http_call.h"
#include "measure/logits_file.h"
#include "measure/quality_report.h"
#include "measure/questions.h"
#include "measure/served_scorer.h"
#include "measure/suite.h"
#include "measure/weights_note.h"
#include "model/model_work.h"

namespace farthing {
namespace {

struct QualityOptions {
  ScoringOptions scoring;
  std::string reference;
  std::string save_reference;
  std::string api_key_file;  // of a served model
  WeightMode reference_weights = WeightMode::kNative;
  KVTypes reference_kv_type;
  bool suite = false;
  int32_t n_questions = 50;  // of each task
  uint64_t seed = 1;
  std::string save_questions;
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
      if (options.suite)
        return usage_error("--suite: a saved reference can't answer questions: give the model");
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

  // Nothing of a saved file.
  const LoadedModel* model() const { return model_ ? model_->loaded.get() : nullptr; }

  // kBadInput unless it can say of these windows what a model of that many tokens does.
  Status check(const Windows& windows,
               int32_t vocab,
               const Text& text,
               const ScoringOptions& options) {
    const int32_t mine = file_ ? file_->vocab_size() : model_->loaded->model->spec.vocab_size;
    if (mine != vocab)
      return bad_input(
          "the reference has {} tokens, the model {}: their vocabularies must be one", mine, vocab);
    if (!file_) {
      FARTHING_TRY(const std::vector<TokenId> tokens, text_tokens(model_->loaded->tokenizer, text));
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
        LogitsWriter writer,
        LogitsWriter::create(path,
                             fmt::format("{}{}{}", model_->loaded->description, kNoteMark, note()),
                             windows,
                             model_->loaded->model->spec.vocab_size));
    writer_.emplace(std::move(writer));
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

  // What is to be said of it; see measure/weights_note.h. A saved file says it behind its name.
  std::string note() const {
    if (!file_)
      return weights_note(model_->loaded->description, model_->loaded->model->file.tensors);
    const size_t mark = file_->description().rfind(kNoteMark);
    return mark == std::string::npos ? std::string() : file_->description().substr(mark + 1);
  }

  // Not of a saved file.
  ScoreTokens scores() {
    if (file_) return {};
    return scores_by(model_->runner, model_->loaded->model->spec.vocab_size);
  }

  Json to_json() const {
    if (file_) {
      const std::string& description = file_->description();
      return {{"description", description.substr(0, description.rfind(kNoteMark))},
              {"saved", true}};
    }
    Json json = model_->to_json();
    json["saved"] = false;
    return json;
  }

 private:
  static constexpr char kNoteMark = '\n';

  Reference() = default;
  std::optional<Scorer> model_;
  std::optional<LogitsFile> file_;
  std::optional<LogitsWriter> writer_;
  std::vector<float> rows_;  // of a window, if it is a model
};

// What is compared with the reference: a model that runs here, or one behind a server.
class Subject {
 public:
  static Result<Subject> open(const QualityOptions& options, const Reference& reference) {
    const ModelOptions& model = options.scoring.model;
    Subject subject;
    if (model.model.find("://") == std::string::npos) {
      FARTHING_TRY(subject.local_, Scorer::open(model.model, model.load, model.engine));
      subject.loaded_ = subject.local_->loaded.get();
      return subject;
    }
    FARTHING_TRY_VOID(parse_url(model.model, "--model"));
    subject.loaded_ = reference.model();
    if (!subject.loaded_)
      return usage_error("--model {}: a served model needs a reference that isn't a saved file",
                         model.model);
    LoadTarget target{.url = model.model};
    FARTHING_TRY(target.api_key, read_api_key(options.api_key_file));
    FARTHING_TRY(subject.served_, ServedScorer::connect(target, subject.loaded_->tokenizer));
    return subject;
  }

  bool is_served() const { return served_.has_value(); }
  const Tokenizer& tokenizer() const { return loaded_->tokenizer; }
  int32_t vocab_size() const { return loaded_->model->spec.vocab_size; }
  CompareWindow compare(const Windows& windows) {
    return served_ ? compare_by(*served_, windows, vocab_size())
                   : compare_by(local_->runner, windows, vocab_size());
  }
  ScoreTokens scores() {
    return served_ ? scores_by(*served_) : scores_by(local_->runner, vocab_size());
  }
  Json to_json(const std::string& url) const {
    if (!served_) return local_->to_json();
    return {{"url", url},
            {"description", fmt::format("{} at {}", served_->model(), url)},
            {"tokens_per_second", served_->tokens_per_second()}};
  }

 private:
  Subject() = default;
  std::optional<Scorer> local_;
  std::optional<ServedScorer> served_;
  const LoadedModel* loaded_ = nullptr;  // whose tokens they are: its own, or the reference
};

Status save_questions(std::span<const Question> questions, const std::string& path) {
  if (path.empty()) return {};
  std::string lines;
  for (const Question& question : questions)
    lines += to_text({{"task", task_name(question.task)},
                      {"context", question.context},
                      {"choices", question.choices},
                      {"right", question.right}}) +
             "\n";
  return write_file(path, lines);
}

// The suite's answers of both, or none if it wasn't asked for.
Result<std::optional<SuiteScore>> ask_suite(const QualityOptions& options,
                                            const Text& text,
                                            Subject& model,
                                            Reference& reference) {
  if (!options.suite) return std::optional<SuiteScore>();
  const ScoringOptions& scoring = options.scoring;
  const std::vector<Question> made =
      make_questions(text.content, options.n_questions, options.seed);
  FARTHING_TRY_VOID(save_questions(made, options.save_questions));
  FARTHING_TRY(const std::vector<TokenQuestion> questions,
               encode_questions(made, model.tokenizer(), scoring.model.engine.context));
  if (questions.empty()) {
    return bad_input(
        "--suite: {} gives no questions that fit --ctx {}: give a longer text, or a larger --ctx",
        scoring.text,
        scoring.model.engine.context);
  }
  ScoringProgress progress(static_cast<int32_t>(questions.size()), "question");
  FARTHING_TRY(SuiteScore score,
               measure_suite(questions, model.scores(), reference.scores(), [&](int32_t n_done) {
                 progress.show(n_done, "");
               }));
  return std::optional(std::move(score));
}

Status quality(const QualityOptions& options) {
  const ScoringOptions& scoring = options.scoring;
  if (scoring.text.empty())
    return usage_error("--text is missing: give the file to score the models on");
  // Nothing is left of a file that Ctrl-C keeps from becoming whole.
  std::optional<Interrupts> interrupts;
  if (!options.save_reference.empty()) {
    FARTHING_TRY(Interrupts taken, Interrupts::create());
    interrupts.emplace(std::move(taken));
  }
  FARTHING_TRY(Reference reference, Reference::open(options));
  FARTHING_TRY(Subject model, Subject::open(options, reference));
  FARTHING_TRY(const Text text, read_text(scoring.text));
  FARTHING_TRY(const std::vector<TokenId> tokens, text_tokens(model.tokenizer(), text));
  FARTHING_TRY(const Windows windows, windows_of(tokens, model.tokenizer(), scoring));
  FARTHING_TRY_VOID(reference.check(windows, model.vocab_size(), text, scoring));
  FARTHING_TRY_VOID(reference.save_to(options.save_reference, windows));
  Result<Quality> measured = Quality();
  {
    ScoringProgress progress(windows.count(), "chunk");
    measured = measure_quality(
        model.compare(windows),
        windows,
        [&](int32_t window) -> Result<std::span<const float>> {
          if (interrupts && interrupts->take()) return Error{ErrorKind::kInterrupted, ""};
          return reference.rows(windows, window);
        },
        [&](int32_t n_done, const Quality& so_far) {
          progress.show(n_done,
                        fmt::format("KL divergence {:.5f}, same top token {:.2f} %, ",
                                    so_far.kld_mean.value,
                                    100 * so_far.top1_agreement.value));
        });
  }
  if (!measured) return std::move(measured).error();
  FARTHING_TRY_VOID(reference.finish());
  interrupts.reset();
  QualityReport report{.quality = *std::move(measured),
                       .kld_at_least = model.is_served(),
                       .n_chunks = windows.count(),
                       .ctx = scoring.model.engine.context,
                       .model = model.to_json(scoring.model.model),
                       .reference = reference.to_json(),
                       .reference_note = reference.note()};
  FARTHING_TRY(report.suite, ask_suite(options, text, model, reference));
  report.peak_resident_bytes = peak_resident_bytes();
  return write_stdout(options.json ? to_text(quality_json(report), 2) + "\n"
                                   : quality_table(report));
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
  verb->add_flag("--suite",
                 options->suite,
                 "Put questions made from the text to both as well (docs/quality.md)");
  verb->add_option("--questions", options->n_questions, "Of each kind, for --suite")
      ->capture_default_str()
      ->check(CLI::Range(1, 10000))
      ->type_name("N");
  verb->add_option("--save-questions",
                   options->save_questions,
                   "Keep the questions of --suite, one JSON object a line")
      ->type_name("FILE");
  verb->add_option("--seed", options->seed, "Chooses the questions of --suite")
      ->capture_default_str()
      ->type_name("N");
  verb->get_option("--model")->description(
      "The model to judge, or http://HOST:PORT of a server that echoes logprobs");
  verb->add_option("--api-key-file", options->api_key_file, "File whose first line is the API key")
      ->type_name("FILE");
  verb->add_flag("--json", options->json, "Print one JSON object");
}

}  // namespace farthing
