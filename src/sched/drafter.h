// Guesses at the tokens that a sequence goes on with. The model computes them all in one step and
// keeps those that it would have chosen itself (Leviathan, Kalman, Matias, arXiv:2211.17192): what
// comes out is the same, bit for bit, and only the number of steps differs.
#pragma once

#include <cstdint>
#include <vector>

#include "core/sequence.h"

namespace farthing {

// How sure a drafter is of a guess, in classes whose acceptance is measured apart.
inline constexpr int32_t kDraftClasses = 6;

struct Guess {
  int32_t n_tokens = 0;
  int32_t draft_class = 0;  // [0, kDraftClasses), higher is surer
};

class Drafter {
 public:
  virtual ~Drafter() = default;
  // Appends at most `most` tokens to `out`. The sequence has no draft.
  virtual Guess guess(const Sequence& sequence, int32_t most, std::vector<TokenId>& out) = 0;
  virtual void forget(SequenceId id) = 0;  // the sequence has ended
};

}  // namespace farthing
