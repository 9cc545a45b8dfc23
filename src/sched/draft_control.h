// How long a draft should be: as long as its next token is likelier to be right, for what it
// costs, than what the step gives without it. Owns: the acceptance of a sequence's drafts, by
// class. Does not know: who guessed.
#pragma once

#include <array>
#include <cstdint>

#include "sched/drafter.h"

namespace farthing {

class DraftControl {
 public:
  // The part of a class' tokens that were right, given that those before them were.
  double acceptance(int32_t draft_class) const {
    return acceptance_[static_cast<size_t>(draft_class)];
  }
  // Of a draft of `n_drafted` the first n_accepted were right.
  void observe(int32_t draft_class, int32_t n_drafted, int32_t n_accepted);
  // There was a guess that wasn't worth its cost: a class that was given up gets another chance
  // now and then.
  void pass(int32_t draft_class);

 private:
  // What prompt lookup was seen to reach on ordinary text.
  static constexpr std::array<double, kDraftClasses> kFirst = {0.25, 0.35, 0.5, 0.65, 0.8, 0.9};
  std::array<double, kDraftClasses> acceptance_ = kFirst;
};

// The length in [0, most] with the best rate. `acceptance` of each token, `rate`: tokens per second
// of the step without it; `cost(n)`: seconds that n drafted tokens add to it, rising.
template <class Cost>
int32_t draft_length(double acceptance, double rate, int32_t most, Cost cost) {
  int32_t n = 0;
  double reached = 1;  // the probability that token n + 1 counts
  for (; n < most; ++n) {
    reached *= acceptance;
    if (reached <= rate * (cost(n + 1) - cost(n))) break;
  }
  return n;
}

}  // namespace farthing
