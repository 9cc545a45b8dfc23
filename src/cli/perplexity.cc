// The verb `perplexity`: how well a model predicts a text.
#include "measure/perplexity.h"

#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "cli/io.h"
#include "cli/output.h"
#include "cli/scoring.h"
#include "cli/verb.h"
#include "cli/verbs.h"

namespace farthing {
namespace {

struct PerplexityOptions {
  ScoringOptions scoring;
  bool json = false;
};

Status print_result(const PerplexityOptions& o, const Perplexity& p, int32_t chunks) {
  const int32_t ctx = o.scoring.model.engine.context;
  if (!o.json) {
    return write_stdout(
        fmt::format("perplexity {:.4f} +/- {:.5f} ({} tokens scored in {} chunks of {})\n",
                    p.value,
                    p.standard_error,
                    p.n_scored,
                    chunks,
                    ctx));
  }
  const Json json = {{"perplexity", p.value},
                     {"stderr", p.standard_error},
                     {"n_scored", p.n_scored},
                     {"chunks", chunks},
                     {"ctx", ctx}};
  return write_stdout(to_text(json) + "\n");
}

Status perplexity(const PerplexityOptions& options) {
  const ScoringOptions& scoring = options.scoring;
  const EngineOptions& engine = scoring.model.engine;
  if (scoring.text.empty())
    return usage_error("--text is missing: give the file to score the model on");
  FARTHING_TRY(const std::string path, resolve_model(scoring.model.model));
  FARTHING_TRY(const auto model, load_model(path, scoring.model.load));
  FARTHING_TRY(const std::vector<TokenId> tokens, text_tokens(model->tokenizer, scoring.text));
  FARTHING_TRY(const Windows windows, windows_of(tokens, model->tokenizer, scoring));
  FARTHING_TRY(WindowRunner runner,
               WindowRunner::create(*model->model, scoring_runner(engine), engine.context));
  Result<Perplexity> measured = Perplexity();
  {
    ScoringProgress progress(windows.count(), "chunk");
    measured = measure_perplexity(runner, windows, [&](int32_t n_done, const Perplexity& so_far) {
      progress.show(n_done, fmt::format("perplexity {:.4f}, ", so_far.value));
    });
  }
  if (!measured) return std::move(measured).error();
  return print_result(options, *measured, windows.count());
}

}  // namespace

void add_perplexity(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<PerplexityOptions>();
  CLI::App* verb =
      add_verb(app, "perplexity", "How well a model predicts a text", exit_code, [options] {
        return perplexity(*options);
      });
  add_scoring_options(*verb, options->scoring);
  verb->add_flag(
      "--json", options->json, "Print one JSON object: perplexity, stderr, n_scored, chunks, ctx");
}

}  // namespace farthing
