#include "cli/scoring.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "base/mapped_file.h"
#include "cli/io.h"
#include "cli/terminal.h"

namespace farthing {

void add_scoring_options(CLI::App& verb, ScoringOptions& options) {
  options.model.engine.context = 512;
  add_model_options(verb, options.model);
  for (const char* flag :
       {"--kv-cache", "--speculate", "--draft", "--draft-model", "--draft-layers"})
    verb.remove_option(verb.get_option(flag));  // nothing is generated
  verb.get_option("--ctx")->description("Tokens of a chunk")->default_str("512");
  verb.get_option("--ctx")->check(CLI::Range(3, 1 << 24));
  verb.add_option("--text", options.text, "Text to score the model on")->type_name("FILE");
  verb.add_option("--chunks", options.chunks, "Most chunks to score (default: the whole text)")
      ->check(CLI::Range(1, 1 << 30))
      ->type_name("N");
}

Result<Text> read_text(const std::string& path) {
  if (path.empty()) return usage_error("--text is missing: give the file to score the model on");
  FARTHING_TRY(std::string content, read_file(path, kMostInputBytes));
  return Text{path, std::move(content)};
}

Result<std::vector<TokenId>> text_tokens(const Tokenizer& tokenizer, const Text& text) {
  auto tokens = tokenizer.encode(text.content, {.add_special = true});
  if (!tokens) return std::move(tokens).error().in(text.path);
  return tokens;
}

Result<std::vector<TokenId>> text_tokens(const Tokenizer& tokenizer, const std::string& path) {
  FARTHING_TRY(const Text text, read_text(path));
  return text_tokens(tokenizer, text);
}

Result<Windows> windows_of(const std::vector<TokenId>& tokens,
                           const Tokenizer& tokenizer,
                           const ScoringOptions& options) {
  const int32_t size = options.model.engine.context;
  const Windows windows(tokens, size, tokenizer.adds_bos() ? tokenizer.bos() : -1, options.chunks);
  if (windows.count() > 0) return windows;
  return bad_input(
      "{}: {} tokens don't fill one chunk: give a longer text, or a smaller --ctx than {}",
      options.text,
      tokens.size(),
      size);
}

RunnerOptions scoring_runner(const EngineOptions& engine) {
  RunnerOptions options{
      .n_threads = engine.n_threads, .isa = engine.isa, .memory_limit = engine.memory_limit};
  options.decoder.max_tokens = engine.chunk;
  options.decoder.kv_type = engine.kv_type;
  options.decoder.attention = engine.attention;
  return options;
}

ScoringProgress::ScoringProgress(int32_t n_parts, const char* part)
    : n_parts_(n_parts), part_(part), terminal_(is_terminal(STDERR_FILENO)) {}

ScoringProgress::~ScoringProgress() {
  if (terminal_ && shown_) fmt::print(stderr, "\n");
}

void ScoringProgress::show(int32_t n_done, std::string_view so_far) {
  if (!terminal_ && n_done > 1) return;
  const double left = seconds_between(start_, Clock::now()) / n_done * (n_parts_ - n_done);
  fmt::print(stderr,
             "{}{} {} of {}, {}about {:.0f} s left{}",
             terminal_ ? "\r" : "",
             part_,
             n_done,
             n_parts_,
             so_far,
             left,
             terminal_ ? "   " : "\n");
  shown_ = true;
}

}  // namespace farthing
