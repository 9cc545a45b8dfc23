// The verb `perplexity`: how well a model predicts a text.
#include "measure/perplexity.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mapped_file.h"
#include "cli/io.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/terminal.h"
#include "cli/verb.h"
#include "cli/verbs.h"

namespace farthing {
namespace {

struct PerplexityOptions {
  ModelOptions model;
  std::string text;
  int32_t chunks = 0;  // 0: all
  bool json = false;
};

// How far it is and how long it will take: one line that is rewritten on a terminal, else one line
// after the first chunk.
class Progress {
 public:
  explicit Progress(int32_t total) : total_(total), terminal_(is_terminal(STDERR_FILENO)) {}
  ~Progress() {
    if (terminal_ && shown_) fmt::print(stderr, "\n");
  }

  void show(int32_t n_done, const Perplexity& so_far) {
    if (!terminal_ && n_done > 1) return;
    const double left = seconds_between(start_, Clock::now()) / n_done * (total_ - n_done);
    fmt::print(stderr,
               "{}chunk {} of {}, perplexity {:.4f}, about {:.0f} s left{}",
               terminal_ ? "\r" : "",
               n_done,
               total_,
               so_far.value,
               left,
               terminal_ ? "   " : "\n");
    shown_ = true;
  }

 private:
  int32_t total_;
  bool terminal_;
  bool shown_ = false;
  TimePoint start_ = Clock::now();
};

Result<std::vector<TokenId>> text_tokens(const Tokenizer& tokenizer, const std::string& path) {
  FARTHING_TRY(const std::string text, read_file(path, kMostInputBytes));
  auto tokens = tokenizer.encode(text, {.add_special = true});
  if (!tokens) return std::move(tokens).error().in(path);
  return tokens;
}

Status print_result(const PerplexityOptions& o, const Perplexity& p, int32_t chunks) {
  const int32_t ctx = o.model.engine.context;
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
  if (options.text.empty())
    return usage_error("--text is missing: give the file to score the model on");
  const EngineOptions& engine = options.model.engine;
  FARTHING_TRY(const std::string path, resolve_model(options.model.model));
  FARTHING_TRY(const auto model, load_model(path, options.model.load));
  const Tokenizer& tokenizer = model->tokenizer;
  FARTHING_TRY(const std::vector<TokenId> tokens, text_tokens(tokenizer, options.text));
  const Windows windows(
      tokens, engine.context, tokenizer.adds_bos() ? tokenizer.bos() : -1, options.chunks);
  if (windows.count() == 0) {
    return bad_input(
        "{}: {} tokens don't fill one chunk: give a longer text, or a smaller --ctx than {}",
        options.text,
        tokens.size(),
        engine.context);
  }
  RunnerOptions runner_options{
      .n_threads = engine.n_threads, .isa = engine.isa, .memory_limit = engine.memory_limit};
  runner_options.decoder.max_tokens = engine.chunk;
  runner_options.decoder.kv_type = engine.kv_type;
  runner_options.decoder.attention = engine.attention;
  FARTHING_TRY(WindowRunner runner,
               WindowRunner::create(*model->model, runner_options, engine.context));
  Result<Perplexity> measured = Perplexity();
  {
    Progress progress(windows.count());
    measured = measure_perplexity(runner, windows, [&](int32_t n_done, const Perplexity& so_far) {
      progress.show(n_done, so_far);
    });
  }
  if (!measured) return std::move(measured).error();
  return print_result(options, *measured, windows.count());
}

}  // namespace

void add_perplexity(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<PerplexityOptions>();
  options->model.engine.context = 512;
  CLI::App* verb =
      add_verb(app, "perplexity", "How well a model predicts a text", exit_code, [options] {
        return perplexity(*options);
      });
  add_model_options(*verb, options->model);
  verb->remove_option(verb->get_option("--kv-cache"));  // nothing is generated
  verb->get_option("--ctx")->description("Tokens of a chunk")->default_str("512");
  verb->get_option("--ctx")->check(CLI::Range(3, 1 << 24));
  verb->add_option("--text", options->text, "Text to score the model on")->type_name("FILE");
  verb->add_option("--chunks", options->chunks, "Most chunks to score (default: the whole text)")
      ->check(CLI::Range(1, 1 << 30))
      ->type_name("N");
  verb->add_flag(
      "--json", options->json, "Print one JSON object: perplexity, stderr, n_scored, chunks, ctx");
}

}  // namespace farthing
