// Selection of likely tokens without sorting a vocabulary. A total order everywhere: larger value
// first, then lower id. NaN counts as minus infinity.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.h"

namespace farthing {

struct Candidate {
  TokenId id = 0;
  float value = 0;  // a logit or an unnormalised probability
};

inline bool better(const Candidate& a, const Candidate& b) {
  return a.value != b.value ? a.value > b.value : a.id < b.id;
}

// The best one, in one pass; id -1 if all are minus infinity.
Candidate best_of(std::span<const float> values);

// The k best (fewer if the rest is minus infinity), by id: one pass, O(k) memory, O(n + k log
// k) expected.
std::vector<Candidate> top_k_of(std::span<const float> values, int32_t k);

// The last of the best ones whose values together reach `goal` (the last of all if they don't): the
// nucleus is what isn't worse. Needs at least one candidate; no full sort.
Candidate nucleus_end(std::vector<Candidate> candidates, double goal);

}  // namespace farthing
