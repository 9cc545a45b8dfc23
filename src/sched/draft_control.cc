#include "sched/draft_control.h"

#include <algorithm>

namespace farthing {
namespace {

constexpr double kWeight = 0.15;       // of one token's outcome
constexpr double kForgetting = 0.005;  // of what was learned, each time that it wasn't used

}  // namespace

void DraftControl::observe(int32_t draft_class, int32_t n_drafted, int32_t n_accepted) {
  double& mean = acceptance_[static_cast<size_t>(draft_class)];
  for (int32_t i = 0; i < std::min(n_drafted, n_accepted + 1); ++i)
    mean += kWeight * ((i < n_accepted ? 1.0 : 0.0) - mean);
}

void DraftControl::pass(int32_t draft_class) {
  const auto i = static_cast<size_t>(draft_class);
  acceptance_[i] += kForgetting * (kFirst[i] - acceptance_[i]);
}

}  // namespace farthing
