// How many guesses each sequence of a step gets: so many that the step's tokens per second are
// most. Owns: what was learned of all drafts. Does not know: blocks, requests, who guesses. A guess
// costs what the step model says of a step with one token more, and what its drafter takes; it is
// worth the probability that it counts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sched/drafter.h"
#include "sched/step_model.h"

namespace farthing {

struct DraftOptions {
  Drafter* drafter = nullptr;  // none: no drafts; outlives its user
  int32_t most_drafted = 0;    // tokens of all drafts of a step
  int32_t draft_tokens = 0;    // of every draft; 0: as many as pay
};

// A step without drafts: of so many sequences, one token each.
struct PlainStep {
  StepWork work;
  int32_t n_sequences = 0;
};

class DraftPlanner {
 public:
  explicit DraftPlanner(const DraftOptions& options) : options_(options) {}

  bool drafts() const { return options_.drafter != nullptr && options_.most_drafted > 0; }
  Drafter& drafter() const { return *options_.drafter; }
  // Where a new sequence begins.
  const DraftControl& control() const { return of_all_; }

  // Gives each of the step's sequences that are in `drafts` its guesses: in all, at most `room`.
  // The seconds that the drafter took.
  double plan(const PlainStep& step,
              const StepModel& model,
              std::span<Draft*> drafts,
              int32_t room);
  // The first n_accepted of these guesses were right.
  void observe(std::span<const uint8_t> classes, int32_t n_accepted) {
    of_all_.observe(classes, n_accepted, DraftControl::kWeightOfAll);
  }

 private:
  size_t ask(const PlainStep& step, const StepModel& model, std::span<Draft*> drafts);
  void cut(const PlainStep& step,
           const StepModel& model,
           std::span<Draft*> drafts,
           int32_t room,
           double spent);

  struct Kept {
    Draft* draft;
    int32_t n = 0;    // of its guesses
    double next = 0;  // the probability that the next one counts; 0: there is none
  };

  DraftOptions options_;
  DraftControl of_all_;
  std::vector<double> reached_;
  std::vector<Kept> kept_;
};

}  // namespace farthing
