// Guesses that a sequence goes on as it did before: what followed the longest earlier occurrence of
// its last tokens (prompt lookup; Saxena, 2023; Yang et al., arXiv:2304.04487). No weights.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "sched/drafter.h"

namespace farthing {

// Where the grams of one token sequence that only grows have occurred: the last position of each
// hash, and for each position the one before it with the same (the chains of LZ77 compressors).
class LookupIndex {
 public:
  static constexpr int32_t kGram = 2;  // the shortest match
  static constexpr int32_t kMostMatched = 32;

  struct Match {
    int32_t n_matched = 0;  // tokens, at most kMostMatched; 0: none
    int32_t next = 0;       // the position after the earlier occurrence
  };
  // Takes in what is new of `tokens`, then looks for the longest earlier occurrence of their end;
  // of equal ones the latest.
  Match find(std::span<const TokenId> tokens);

 private:
  void add(std::span<const TokenId> tokens, int32_t end);
  size_t bucket(std::span<const TokenId> tokens, int32_t end) const;
  void grow(std::span<const TokenId> tokens);

  std::vector<int32_t> heads_;   // by bucket: the end of the latest gram, or 0
  std::vector<int32_t> before_;  // by end of a gram: the end of the one before, or 0
};

// The class of a guess behind a match of so many tokens.
int32_t class_of_match(int32_t n_matched);

class LookupDrafter : public Drafter {
 public:
  void guess(std::span<Draft* const> drafts, double spare) override;
  void forget(SequenceId id) override { indices_.erase(id.v); }

 private:
  std::unordered_map<uint32_t, LookupIndex> indices_;
};

}  // namespace farthing
