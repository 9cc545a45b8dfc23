// How likely guesses are right. Owns: what was seen of the drafts of one sequence, or of all. Does
// not know: who guessed, what a guess costs (sched/draft_planner.h).
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace farthing {

// How sure a drafter is of a guess, in classes whose acceptance is measured apart. Higher is surer;
// those of the second half are guesses from another source than those of the first.
inline constexpr int32_t kDraftClasses = 12;

class DraftControl {
 public:
  // The part of a class' guesses that were right, given that those before them were.
  double acceptance(int32_t draft_class) const {
    return acceptance_[static_cast<size_t>(draft_class)];
  }
  // The mean of acceptance() over what the drafter guesses.
  double expected() const { return expected_; }

  // Of guesses of these classes the first n_accepted were right: what came after the first wrong
  // one says nothing. `weight` of one outcome.
  void observe(std::span<const uint8_t> classes, int32_t n_accepted, double weight = kWeight);
  // It guessed these, whether they are worth computing or not.
  void guessed(std::span<const uint8_t> classes, double weight = kWeight);
  // There was a guess that wasn't worth its cost: what was learned of its class fades into what is
  // known of others, so that one that was given up gets another chance now and then.
  void pass(int32_t draft_class, const DraftControl& others, double part = kFading);
  // The drafter wasn't asked, since its guesses weren't worth their cost: the same of all.
  void pass(const DraftControl& others, double part = kFading);

  static constexpr double kWeight = 0.15;
  static constexpr double kFading = 0.002;
  // For what is learned of all sequences, and what it fades into: nothing learned.
  static constexpr double kWeightOfAll = 0.02;
  static constexpr double kFadingOfAll = 0.0005;

 private:
  // What prompt lookup was seen to reach on ordinary text.
  std::array<double, kDraftClasses> acceptance_ = {
      0.25, 0.35, 0.5, 0.65, 0.8, 0.9, 0.25, 0.35, 0.5, 0.65, 0.8, 0.9};
  double expected_ = 0.6;
};

}  // namespace farthing
