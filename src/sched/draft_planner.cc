#include "sched/draft_planner.h"

#include <algorithm>
#include <functional>

namespace farthing {
namespace {

// A drafter that has a prompt to read makes a step so much longer at most, by its own reckoning.
constexpr double kSpare = 0.5;
// What it takes to read it pays off over so many of the tokens to come, if there are so many.
constexpr int32_t kPaysOff = 128;

// What guess n, from 1 on, adds to the step of a sequence.
StepWork of_guess(const Draft& draft, int32_t n) {
  return {.n_tokens = 1, .n_positions = 1, .n_pairs = draft.sequence->n_stored + n + 1};
}

StepWork operator+(StepWork a, const StepWork& b) {
  return a += b;
}

}  // namespace

double DraftPlanner::plan(const PlainStep& step,
                          const StepModel& model,
                          std::span<Draft*> drafts,
                          int32_t room) {
  const bool fixed = options_.draft_tokens > 0;
  room = std::min(room, options_.most_drafted);
  for (Draft* draft : drafts) {
    if (fixed) draft->most = std::min(draft->most, options_.draft_tokens);
    draft->least = 0;
  }
  if (!fixed) drafts = drafts.first(ask(step, model, drafts));
  if (drafts.empty()) return 0;
  options_.drafter->guess(drafts, kSpare * model.seconds(step.work));
  const double spent = options_.drafter->spent();
  for (Draft* draft : drafts) {
    draft->control->guessed(draft->guessed());
    of_all_.guessed(draft->guessed(), DraftControl::kWeightOfAll);
  }
  if (!fixed) {
    cut(step, model, drafts, room, spent);
    return spent;
  }
  for (Draft* draft : drafts) {
    draft->cut(std::min(draft->size(), room));
    room -= draft->size();
  }
  return spent;
}

// Whom to ask a drafter whose guesses cost something: the first so many of `drafts`, which it puts
// in order. Every guess is taken to be as likely as the sequence's are on average.
size_t DraftPlanner::ask(const PlainStep& step, const StepModel& model, std::span<Draft*> drafts) {
  if (drafts.empty()) return 0;
  const Drafter::Cost cost = options_.drafter->cost(drafts);
  if (cost.nothing()) return drafts.size();
  std::ranges::stable_sort(
      drafts, std::greater<>(), [](const Draft* d) { return d->control->expected(); });
  const double plain = model.seconds(step.work);
  double best = step.n_sequences / plain;  // tokens per second
  size_t n_asked = 0;
  double unread = 0;  // of each token to come
  const size_t most_asked = std::min(drafts.size(), static_cast<size_t>(options_.most_drafted));
  for (size_t n = 1; n <= most_asked; ++n) {
    const std::span<Draft*> asked = drafts.first(n);
    const Draft& last = *asked.back();
    unread += last.unread / std::min(last.left, kPaysOff);
    const double pass = cost.pass + static_cast<double>(n) * cost.sequence;
    double tokens = step.n_sequences;
    StepWork work = step.work;
    reached_.assign(n, 1);
    const int32_t deepest = std::min(kMostDraft, options_.most_drafted / static_cast<int32_t>(n));
    for (int32_t depth = 1; depth <= deepest; ++depth) {
      for (size_t i = 0; i < n; ++i) {
        if (depth > asked[i]->most) continue;
        tokens += reached_[i] *= asked[i]->control->expected();
        work += of_guess(*asked[i], depth);
      }
      const double each = tokens / step.n_sequences;
      const double rate = tokens / (model.seconds(work) + depth * pass + each * unread);
      if (rate <= best) continue;
      best = rate;
      n_asked = n;
    }
  }
  for (Draft* draft : drafts.subspan(n_asked)) draft->control->pass(of_all_);
  if (n_asked == 0) {
    of_all_.pass(DraftControl(), DraftControl::kFadingOfAll);
    return 0;
  }
  // One more guess: its part of a pass, and one more token in the step.
  const double pass = cost.pass / static_cast<double>(n_asked) + cost.sequence;
  const double token = model.seconds(step.work + of_guess(*drafts.front(), 1)) - plain;
  for (Draft* draft : drafts.first(n_asked)) draft->least = best * (pass + std::max(token, 0.0));
  return n_asked;
}

// Keeps the likeliest guesses, as long as the next one is likelier, for what it costs, than what
// the step gives so far: then tokens per second are most.
void DraftPlanner::cut(const PlainStep& step,
                       const StepModel& model,
                       std::span<Draft*> drafts,
                       int32_t room,
                       double spent) {
  kept_.clear();
  const auto look_at_next = [](Kept& kept) {
    const std::span<const uint8_t> guessed = kept.draft->guessed();
    const auto n = static_cast<size_t>(kept.n);
    kept.next *= n < guessed.size() ? kept.draft->control->acceptance(guessed[n]) : 0;
  };
  for (Draft* draft : drafts) look_at_next(kept_.emplace_back(Kept{draft, 0, 1}));
  StepWork work = step.work;
  double tokens = step.n_sequences;
  double seconds = model.seconds(work) + spent;
  for (; room > 0; --room) {
    Kept& best = *std::ranges::max_element(kept_, {}, &Kept::next);
    const StepWork more = work + of_guess(*best.draft, best.n + 1);
    const double cost = std::max(model.seconds(more) - model.seconds(work), 0.0);
    if (best.next <= 0 || best.next * seconds <= tokens * cost) break;
    tokens += best.next;
    seconds += cost;
    work = more;
    ++best.n;
    look_at_next(best);
  }
  for (const Kept& kept : kept_) {
    Draft& draft = *kept.draft;
    if (kept.n == 0 && draft.size() > 0) {
      const int32_t draft_class = draft.guessed().front();
      draft.control->pass(draft_class, of_all_);
      of_all_.pass(draft_class, DraftControl(), DraftControl::kFadingOfAll);
    }
    draft.cut(kept.n);
  }
}

}  // namespace farthing
