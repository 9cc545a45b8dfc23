#include "sched/draft_control.h"

#include <algorithm>

namespace farthing {
void DraftControl::observe(std::span<const uint8_t> classes, int32_t n_accepted, double weight) {
  const auto n_known = std::min(classes.size(), static_cast<size_t>(n_accepted) + 1);
  for (size_t i = 0; i < n_known; ++i) {
    double& mean = acceptance_[classes[i]];
    mean += weight * ((static_cast<int32_t>(i) < n_accepted ? 1.0 : 0.0) - mean);
  }
}

void DraftControl::guessed(std::span<const uint8_t> classes, double weight) {
  for (const uint8_t c : classes) {
    expected_ += weight / 3 * (acceptance_[c] - expected_);  // drafts have several guesses
  }
}

void DraftControl::pass(int32_t draft_class, const DraftControl& others, double part) {
  const auto i = static_cast<size_t>(draft_class);
  acceptance_[i] += part * (others.acceptance_[i] - acceptance_[i]);
}

void DraftControl::pass(const DraftControl& others, double part) {
  expected_ += part * (others.expected_ - expected_);
  for (int32_t c = 0; c < kDraftClasses; ++c) pass(c, others, part);
}

}  // namespace farthing
