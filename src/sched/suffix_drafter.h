// Guesses that a sequence goes on as it did before, or as an earlier answer did: what followed the
// longest earlier occurrence of its last tokens, of any length (Oliaro et al., SuffixDecoding,
// arXiv:2411.04975, without its trees of frequencies). No weights. Owns: an automaton of every
// sequence, and of the latest answers of each salt, which sees no other's.
// Invariant: the latest kMostPasts salts have a past, of kPastTokens to twice as many tokens at
// most; bytes_at_most() holds.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "sched/drafter.h"
#include "sched/suffix_automaton.h"

namespace farthing {

class SuffixDrafter : public Drafter {
 public:
  void guess(std::span<Draft* const> drafts, double spare) override;
  void forget(SequenceId id) override { sequences_.erase(id.v); }
  void learn(const Sequence& sequence, CacheSalt salt) override;

  static constexpr int32_t kLeastMatched = 2;
  static constexpr int32_t kMostPasts = 16;
  static constexpr int32_t kPastTokens = 8192;
  static int64_t bytes_at_most(int32_t max_sequences, int32_t context);

 private:
  // The answers of a salt: a young text that grows, and the one before it. When the young one is
  // full, it becomes the old one.
  struct Past {
    CacheSalt salt;
    uint64_t used = 0;
    struct Text {
      uint64_t id = 0;  // no other text's, ever; 0: there is none
      std::unique_ptr<SuffixAutomaton> automaton;
    };
    std::array<Text, 2> texts;  // young, old
  };
  struct State {
    SuffixAutomaton own;
    struct Followed {
      uint64_t id = 0;  // of the text
      int32_t n_read = 0;
      SuffixAutomaton::Match match;
    };
    std::array<Followed, 2> pasts;
  };
  // Where a sequence may go on.
  struct Found {
    const SuffixAutomaton* text = nullptr;
    int32_t length = 0;
    int32_t next = 0;
    int32_t draft_class = 0;
  };

  Past* past_of(CacheSalt salt);
  Found find(const Draft& draft, State& state);
  void follow(State& state, const Past& past, const std::vector<TokenId>& tokens);

  std::unordered_map<uint32_t, State> sequences_;
  std::vector<Past> pasts_;
  uint64_t n_texts_ = 0;
  uint64_t now_ = 0;  // counts uses
};

}  // namespace farthing
