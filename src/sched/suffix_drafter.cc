#include "sched/suffix_drafter.h"

#include <algorithm>

#include "sched/lookup_drafter.h"

namespace farthing {
namespace {

// Tokens of a sequence that are read in one step: a long prompt must not make it longer.
constexpr int32_t kMostRead = 1024;
// A past is searched for so many of a sequence's last tokens, from when it is first looked at.
constexpr int32_t kMostLookedBack = 64;

}  // namespace

int64_t SuffixDrafter::bytes_at_most(int32_t max_sequences, int32_t context) {
  const int64_t tokens =
      int64_t{max_sequences} * context + int64_t{kMostPasts} * 2 * (kPastTokens + 1);
  return tokens * SuffixAutomaton::kBytesPerToken;
}

void SuffixDrafter::guess(std::span<Draft* const> drafts, double /*spare*/) {
  for (Draft* draft : drafts) {
    const std::vector<TokenId>& tokens = draft->sequence->tokens;
    State& state = sequences_[draft->sequence->id.v];
    auto n_read = static_cast<int32_t>(state.own.text().size());
    const auto size = static_cast<int32_t>(tokens.size());
    const int32_t until = std::min(size, n_read + kMostRead);
    for (; n_read < until; ++n_read) state.own.append(tokens[static_cast<size_t>(n_read)]);
    if (n_read < size) continue;
    const Found found = find(*draft, state);
    if (!found.text) continue;
    const std::span<const TokenId> text = found.text->text();
    const auto text_size = static_cast<int32_t>(text.size());
    // What the sequence itself ends with may go on in itself: "ha ha ha" by more of the same.
    const int32_t period = text_size - found.next;
    const bool own = found.text == &state.own;
    for (int32_t i = 0; i < draft->most; ++i) {
      const int32_t place = found.next + (own ? i % period : i);
      if (place >= text_size) break;
      const TokenId token = text[static_cast<size_t>(place)];
      if (token == SuffixAutomaton::kEnd) break;
      draft->push(token, found.draft_class);
    }
  }
}

// The likeliest of what its own text and its salt's past go on with.
SuffixDrafter::Found SuffixDrafter::find(const Draft& draft, State& state) {
  Found best;
  double acceptance = -1;
  const auto consider = [&](const SuffixAutomaton& text, int32_t length, int32_t next, int32_t of) {
    if (length < kLeastMatched) return;
    const int32_t draft_class = of + class_of_match(length);
    const double chance = draft.control->acceptance(draft_class);
    if (chance < acceptance || (chance == acceptance && length <= best.length)) return;
    best = {.text = &text, .length = length, .next = next, .draft_class = draft_class};
    acceptance = chance;
  };
  const SuffixAutomaton::Repeated own = state.own.repeated();
  consider(state.own, own.length, own.next, 0);
  const Past* past = past_of(draft.salt);
  if (!past) return best;
  follow(state, *past, draft.sequence->tokens);
  for (size_t i = 0; i < past->texts.size(); ++i) {
    const SuffixAutomaton* text = past->texts[i].automaton.get();
    if (!text) continue;
    const SuffixAutomaton::Match& match = state.pasts[i].match;
    consider(*text, match.length, text->next_of(match), kDraftClasses / 2);
  }
  return best;
}

// Takes the sequence's matches in the past up to its last token.
void SuffixDrafter::follow(State& state, const Past& past, const std::vector<TokenId>& tokens) {
  const auto size = static_cast<int32_t>(tokens.size());
  for (size_t i = 0; i < past.texts.size(); ++i) {
    const Past::Text& text = past.texts[i];
    if (!text.automaton) continue;
    State::Followed& followed = state.pasts[i];
    if (followed.id != text.id || followed.n_read < size - kMostLookedBack)
      followed = {.id = text.id, .n_read = std::max(0, size - kMostLookedBack)};
    for (; followed.n_read < size; ++followed.n_read)
      followed.match =
          text.automaton->follow(followed.match, tokens[static_cast<size_t>(followed.n_read)]);
  }
}

SuffixDrafter::Past* SuffixDrafter::past_of(CacheSalt salt) {
  const auto past = std::ranges::find(pasts_, salt, &Past::salt);
  if (past == pasts_.end()) return nullptr;
  past->used = ++now_;
  return &*past;
}

void SuffixDrafter::learn(const Sequence& sequence, CacheSalt salt) {
  Past* past = past_of(salt);
  if (!past) {
    if (pasts_.size() == kMostPasts)
      pasts_.erase(std::ranges::min_element(pasts_, {}, &Past::used));
    past = &pasts_.emplace_back(Past{.salt = salt, .used = ++now_});
  }
  const std::span<const TokenId> all = sequence.tokens;
  const auto n = std::min(static_cast<size_t>(sequence.n_generated()), size_t{kPastTokens});
  const auto answer = all.subspan(static_cast<size_t>(sequence.size()) - n, n);
  Past::Text& young = past->texts[0];
  if (young.automaton && young.automaton->text().size() + n > kPastTokens)
    past->texts[1] = std::move(young);
  if (!young.automaton)
    young = {.id = ++n_texts_, .automaton = std::make_unique<SuffixAutomaton>()};
  for (const TokenId token : answer) young.automaton->append(token);
  young.automaton->end_text();
}

}  // namespace farthing
