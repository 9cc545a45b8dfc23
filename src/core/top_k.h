// Selection of likely tokens without sorting a vocabulary. A total order everywhere: larger value
// first, then lower id. NaN counts as minus infinity.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "core/ids.h"

namespace farthing {

struct Candidate {
  TokenId id = 0;
  float value = 0;  // a logit or an unnormalised probability

  bool operator==(const Candidate&) const = default;
};

inline bool better(const Candidate& a, const Candidate& b) {
  return a.value != b.value ? a.value > b.value : a.id < b.id;
}

// The best one, in one pass; id -1 if all are minus infinity.
Candidate best_of(std::span<const float> values);

// The k best of values that come in pieces: one pass, O(k) memory, O(n + k log k) expected. Nothing
// is allocated for a k that was there before.
class TopK {
 public:
  void start(int32_t k);
  // The values of ids first, first + 1, ...; from piece to piece, ids go up.
  void add(std::span<const float> values, TokenId first);
  // What another has gathered so far from other ids, whichever they are.
  void merge(const TopK& other);
  // Ends the gathering: the k best by id, fewer if the rest is minus infinity.
  std::span<const Candidate> finish();

  // Of memory, started with k.
  static constexpr int64_t bytes_taken(int32_t k) {
    return static_cast<int64_t>(sizeof(TopK) + 2 * static_cast<size_t>(k) * sizeof(Candidate));
  }

 private:
  void shrink();

  size_t keep_ = 0;
  float threshold_ = -std::numeric_limits<float>::infinity();  // what isn't larger can't be kept
  std::vector<Candidate> kept_;
};

// The same of values that are at hand.
std::vector<Candidate> top_k_of(std::span<const float> values, int32_t k);

}  // namespace farthing
