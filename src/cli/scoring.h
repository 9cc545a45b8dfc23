// What the verbs that score a text have in common.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "cli/model_options.h"
#include "core/ids.h"
#include "engine/runner.h"
#include "measure/windows.h"
#include "text/tokenizer.h"

namespace farthing {

// --text, --chunks, and the model's options without those that only generating has.
struct ScoringOptions {
  ModelOptions model;
  std::string text;
  int32_t chunks = 0;  // 0: all
};
void add_scoring_options(CLI::App& verb, ScoringOptions& options);

// What --text names: read once, for it may be a pipe.
struct Text {
  std::string path;
  std::string content;
};
Result<Text> read_text(const std::string& path);
Result<std::vector<TokenId>> text_tokens(const Tokenizer& tokenizer, const Text& text);
Result<std::vector<TokenId>> text_tokens(const Tokenizer& tokenizer, const std::string& path);

// kBadInput if there is none. `tokens` outlives the windows.
Result<Windows> windows_of(const std::vector<TokenId>& tokens,
                           const Tokenizer& tokenizer,
                           const ScoringOptions& options);

RunnerOptions scoring_runner(const EngineOptions& engine);

// How far it is and how long it will take: one line that is rewritten on a terminal, else one line
// after the first part.
class ScoringProgress {
 public:
  ScoringProgress(int32_t n_parts, const char* part);  // "chunk"
  ~ScoringProgress();
  void show(int32_t n_done, std::string_view so_far);

 private:
  int32_t n_parts_;
  const char* part_;
  bool terminal_;
  bool shown_ = false;
  TimePoint start_ = Clock::now();
};

}  // namespace farthing
