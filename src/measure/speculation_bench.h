// What speculation gives if guesses are right as they were on some text: the accepted tokens come
// from a recorded pattern, so that weights may be random, while the drafter's work and the steps
// are real. Owns: the engines of a run, one that drafts and one that doesn't, which work in turn.
// Does not know: how results are shown.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "engine/loaded_model.h"

namespace farthing {

// Of the guess at each position of a text, given that all before it is as it was: how sure the
// drafter was, and whether it was right.
struct GuessOutcome {
  uint8_t draft_class = 0;
  bool right = false;
  friend bool operator==(const GuessOutcome&, const GuessOutcome&) = default;
};
using GuessPattern = std::vector<GuessOutcome>;

// As text: a letter for the class, from a on, and 1 or 0 for each position; white space doesn't
// count. kBadInput with the byte offset.
Result<GuessPattern> parse_pattern(std::string_view text);
std::string pattern_text(const GuessPattern& pattern);

// Answers the prompt greedily, one token at a time, and looks what the engine's drafter would have
// guessed at each.
Result<GuessPattern> record_pattern(const LoadedModel& model,
                                    EngineOptions options,
                                    std::vector<TokenId> prompt,
                                    int32_t n_tokens);

struct SpeculationBenchOptions {
  EngineOptions engine;  // with its drafter, whose guesses are replaced
  std::vector<int32_t> batches = {1};
  int32_t n_prompt = 64;  // of each sequence
  int32_t n_gen = 256;
  int32_t rounds = 3;
  GuessPattern pattern;  // again from its beginning when it ends; each sequence begins elsewhere
};

struct SpeculationResult {
  int32_t batch = 1;
  // Tokens after the first, of all sequences together, by the second: of each round.
  std::vector<double> off, drafted;
  std::vector<double> reckoned;  // the speed-up by the step model
  DraftTimings drafts;           // of all rounds

  std::vector<double> measured() const;  // the speed-up of each round
};

Result<std::vector<SpeculationResult>> bench_speculation(
    const LoadedModel& model,
    const SpeculationBenchOptions& options,
    const std::function<void(const std::string&)>& progress);

}  // namespace farthing
