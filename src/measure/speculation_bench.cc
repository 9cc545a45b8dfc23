#include "measure/speculation_bench.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

#include "sample/sampler.h"

namespace farthing {
namespace {

// Guesses what the pattern says of the answers it knows. The drafter behind it does its work.
class PatternDrafter : public Drafter {
 public:
  PatternDrafter(std::unique_ptr<Drafter> real, const GuessPattern& pattern)
      : real_(std::move(real)), pattern_(pattern) {}

  // Before a run: what its sequences are going to say, by the first token of the prompt.
  void know(std::map<TokenId, std::vector<TokenId>> answers) { answers_ = std::move(answers); }

  // The real drafter makes as many guesses as one would that was as sure of them as the pattern's.
  void guess(std::span<Draft* const> drafts, double spare) override {
    for (Draft* draft : drafts) {
      const int32_t n_generated = draft->sequence->n_generated();
      int32_t n = 0;
      for (double reached = 1; n < draft->most && reached >= draft->least; ++n) {
        const int32_t draft_class = guess_at(*draft->sequence, n_generated + n).second.draft_class;
        reached *= draft->control->acceptance(draft_class);
      }
      draft->most = n;
      draft->least = 0;
    }
    real_->guess(drafts, spare);
    for (Draft* draft : drafts) {
      const Sequence& s = *draft->sequence;
      const bool reads = costs_ && draft->size() == 0;  // it has to read the prompt first
      draft->cut(0);
      for (int32_t i = 0; i < draft->most && !reads; ++i) {
        const auto [token, outcome] = guess_at(s, s.n_generated() + i);
        draft->push(token, outcome.draft_class);
      }
    }
  }
  Cost cost(std::span<Draft* const> drafts) override {
    const Cost cost = real_->cost(drafts);
    costs_ = !cost.nothing();
    return cost;
  }
  double spent() const override { return real_->spent(); }
  void forget(SequenceId id) override { real_->forget(id); }

 private:
  std::pair<TokenId, GuessOutcome> guess_at(const Sequence& s, int32_t n_generated) const {
    const auto answer = answers_.find(s.tokens.front());
    const auto at = static_cast<size_t>(n_generated);
    if (answer == answers_.end() || at >= answer->second.size()) return {};
    const auto begin = static_cast<size_t>(s.tokens.front()) * 37;
    const GuessOutcome& outcome = pattern_[(begin + at) % pattern_.size()];
    const TokenId right = answer->second[at];
    return {outcome.right ? right : right == 0 ? 1 : 0, outcome};
  }

  std::unique_ptr<Drafter> real_;
  const GuessPattern& pattern_;
  std::map<TokenId, std::vector<TokenId>> answers_;
  bool costs_ = false;
};

// Notes what a drafter guesses at the next token, and takes it away.
class RecordingDrafter : public Drafter {
 public:
  RecordingDrafter(std::unique_ptr<Drafter> real, GuessPattern& pattern)
      : real_(std::move(real)), pattern_(pattern) {}

  void guess(std::span<Draft* const> drafts, double spare) override {
    for (Draft* draft : drafts) {
      const Sequence& s = *draft->sequence;
      if (guessed_ && guessed_->place < s.size())
        pattern_.push_back({guessed_->draft_class,
                            s.tokens[static_cast<size_t>(guessed_->place)] == guessed_->token});
      guessed_ = Guessed{.place = s.size()};
    }
    real_->guess(drafts, spare);
    for (Draft* draft : drafts) {
      if (draft->size() > 0) {
        guessed_->token = draft->sequence->tokens[static_cast<size_t>(draft->sequence->size())];
        guessed_->draft_class = draft->classes[0];
      }
      draft->cut(0);
    }
  }
  void forget(SequenceId id) override { real_->forget(id); }

 private:
  struct Guessed {
    int32_t place = 0;
    TokenId token = -1;
    uint8_t draft_class = 0;
  };
  std::unique_ptr<Drafter> real_;
  GuessPattern& pattern_;
  std::optional<Guessed> guessed_;  // one sequence's
};

struct Heard {
  std::vector<TokenId> tokens;
  Timings timings;
};

// Runs them all at once, to their end.
Result<std::vector<Heard>> run(Engine& engine, const std::vector<Request>& requests) {
  std::mutex mutex;
  std::condition_variable changed;
  size_t n_ended = 0;
  std::vector<Heard> heard(requests.size());
  std::optional<Error> error;
  size_t n_submitted = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto id = engine.submit(requests[i], [&, i](Event event) {
      const std::lock_guard lock(mutex);
      if (auto* token = std::get_if<TokenEvent>(&event)) {
        heard[i].tokens.push_back(token->token);
      } else if (auto* end = std::get_if<RequestEnd>(&event)) {
        heard[i].timings = end->timings;
        ++n_ended;
        changed.notify_all();
      }
    });
    if (!id) {
      error = id.error();
      break;
    }
    ++n_submitted;
  }
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return n_ended == n_submitted; });
  if (error) return *std::move(error);
  return heard;
}

Request greedy(std::vector<TokenId> prompt, int32_t n_tokens) {
  Request request{.prompt = std::move(prompt), .max_tokens = n_tokens, .ignore_eos = true};
  request.sampling.temperature = 0;
  return request;
}

// Prompts that differ in their first token.
std::vector<Request> requests_of(const SpeculationBenchOptions& options,
                                 int32_t batch,
                                 int32_t vocab_size) {
  std::vector<Request> requests;
  for (int32_t i = 0; i < batch; ++i) {
    std::vector<TokenId> prompt = {i};
    for (int32_t p = 1; p < options.n_prompt; ++p) {
      prompt.push_back(static_cast<TokenId>(
          uniform(0, static_cast<uint32_t>(i), static_cast<uint32_t>(p)) * vocab_size));
    }
    requests.push_back(greedy(std::move(prompt), options.n_gen));
  }
  return requests;
}

double rate_of(const std::vector<Heard>& heard) {
  double tokens = 0, seconds = 0;
  for (const Heard& h : heard) {
    tokens += static_cast<double>(h.tokens.size()) - 1;
    seconds = std::max(seconds, h.timings.decode_seconds);
  }
  return seconds > 0 ? tokens / seconds : 0;
}

}  // namespace

Result<GuessPattern> parse_pattern(std::string_view text) {
  GuessPattern pattern;
  std::optional<uint8_t> draft_class;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t') continue;
    if (!draft_class && c >= 'a' && c < 'a' + kDraftClasses) {
      draft_class = static_cast<uint8_t>(c - 'a');
    } else if (draft_class && (c == '0' || c == '1')) {
      pattern.push_back({*std::exchange(draft_class, std::nullopt), c == '1'});
    } else {
      return bad_input("byte {}: a pattern is a letter from a to l and 0 or 1 for each token", i);
    }
  }
  if (pattern.empty() || draft_class)
    return bad_input("byte {}: the pattern ends too early", text.size());
  return pattern;
}

std::string pattern_text(const GuessPattern& pattern) {
  std::string text;
  for (size_t i = 0; i < pattern.size(); ++i) {
    text += static_cast<char>('a' + pattern[i].draft_class);
    text += pattern[i].right ? '1' : '0';
    if (i % 40 == 39 || i + 1 == pattern.size()) text += '\n';
  }
  return text;
}

Result<GuessPattern> record_pattern(const LoadedModel& model,
                                    EngineOptions options,
                                    std::vector<TokenId> prompt,
                                    int32_t n_tokens) {
  GuessPattern pattern;
  options.draft_tokens = 1;
  options.max_sequences = 1;
  options.wrap_drafter = [&pattern](std::unique_ptr<Drafter> real) {
    return std::make_unique<RecordingDrafter>(std::move(real), pattern);
  };
  {
    FARTHING_TRY(const std::unique_ptr<Engine> engine, Engine::start(model, options));
    FARTHING_TRY_VOID(run(*engine, {greedy(std::move(prompt), n_tokens)}));
  }
  return pattern;
}

std::vector<double> SpeculationResult::measured() const {
  std::vector<double> ratios;
  for (size_t i = 0; i < off.size(); ++i) ratios.push_back(drafted[i] / off[i]);
  return ratios;
}

Result<std::vector<SpeculationResult>> bench_speculation(
    const LoadedModel& model,
    const SpeculationBenchOptions& options,
    const std::function<void(const std::string&)>& progress) {
  EngineOptions engine_options = options.engine;
  engine_options.max_sequences = std::ranges::max(options.batches);
  engine_options.context = options.n_prompt + options.n_gen + 1;
  engine_options.prefix_cache = false;
  EngineOptions off_options = engine_options;
  off_options.speculate = Speculation::kOff;
  off_options.draft_model = nullptr;
  off_options.draft_layers = 0;
  PatternDrafter* drafter = nullptr;
  engine_options.wrap_drafter = [&](std::unique_ptr<Drafter> real) {
    auto wrapped = std::make_unique<PatternDrafter>(std::move(real), options.pattern);
    drafter = wrapped.get();
    return wrapped;
  };
  FARTHING_TRY(const std::unique_ptr<Engine> off, Engine::start(model, off_options));
  FARTHING_TRY(const std::unique_ptr<Engine> drafting, Engine::start(model, engine_options));
  std::vector<SpeculationResult> results;
  for (const int32_t batch : options.batches) {
    SpeculationResult result{.batch = batch};
    const std::vector<Request> requests = requests_of(options, batch, model.model->spec.vocab_size);
    // The first round warms up: it finds the answers, and the step model learns.
    for (int32_t round = 0; round <= options.rounds; ++round) {
      progress(fmt::format("batch {}, round {} of {}", batch, round, options.rounds));
      std::vector<Heard> plain, guessed;
      for (const bool first : {true, false}) {
        // In turn; the first time without drafts first, since these need the answers.
        if (first == (round % 2 == 0)) {
          FARTHING_TRY(plain, run(*off, requests));
          if (round > 0) continue;
          std::map<TokenId, std::vector<TokenId>> answers;
          for (size_t i = 0; i < requests.size(); ++i)
            answers[requests[i].prompt.front()] = plain[i].tokens;
          drafter->know(std::move(answers));
        } else {
          FARTHING_TRY(guessed, run(*drafting, requests));
        }
      }
      for (size_t i = 0; i < requests.size(); ++i) {
        if (plain[i].tokens != guessed[i].tokens)
          return runtime_failure("sequence {}: drafts changed the answer", i);
      }
      if (round == 0) continue;
      result.off.push_back(rate_of(plain));
      result.drafted.push_back(rate_of(guessed));
      DraftTimings drafts;
      for (const Heard& heard : guessed) drafts += heard.timings.drafts;
      result.reckoned.push_back(drafts.speedup());
      result.drafts += drafts;
    }
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace farthing
