#include "sample/log_softmax.h"

#include <cmath>
#include <limits>

#include "core/top_k.h"

namespace farthing {

double log_sum_exp(std::span<const float> logits) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Candidate best = best_of(logits);
  if (best.id < 0) return -kInfinity;
  // Plus infinities share the probability: their count decides, whatever the rest is.
  const bool infinite = best.value == kInfinity;
  double sum = 0;
  for (const float x : logits) {
    const float below = infinite ? (x == kInfinity ? 0.0f : -kInfinity) : x - best.value;
    if (below > -100.0f) sum += std::exp(below);
  }
  return best.value + std::log(sum);
}

}  // namespace farthing
