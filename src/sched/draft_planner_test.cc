#include "sched/draft_planner.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <optional>
#include <random>
#include <vector>

namespace farthing {
namespace {

// Guesses as many as it may, of one class for each sequence, as far as they are worth it.
class SomeDrafter : public Drafter {
 public:
  void guess(std::span<Draft* const> drafts, double spare) override {
    last_spare = spare;
    asked = drafts.size();
    int32_t deepest = 0;
    for (Draft* draft : drafts) {
      const int32_t c = draft_class(*draft);
      double reached = 1;
      while (draft->size() < draft->most) {
        draft->push(1, c);
        reached *= draft->control->acceptance(c);
        if (reached < draft->least) break;
      }
      deepest = std::max(deepest, draft->size());
    }
    spent_ = pass_seconds * deepest;
  }
  Cost cost(std::span<Draft* const> drafts) override {
    for (Draft* draft : drafts) draft->unread = unread;
    return {.pass = pass_seconds};
  }
  double spent() const override { return spent_; }
  void forget(SequenceId) override {}

  static int32_t draft_class(const Draft& draft) {
    return static_cast<int32_t>(draft.sequence->id.v) % kDraftClasses;
  }

  double pass_seconds = 0;
  double unread = 0;
  double last_spare = -1;
  size_t asked = 0;

 private:
  double spent_ = 0;
};

// 10 ms a step, `token` seconds each token.
StepModel model_of(double token) {
  StepModel model;
  for (int i = 0; i < 400; ++i) {
    const StepWork work = StepWork::of(100, 1 + i % 16);
    model.observe(work, 0.010 + token * static_cast<double>(work.n_tokens));
  }
  return model;
}

// Sequences of which number i has guesses of class i.
struct Rig {
  explicit Rig(int32_t n, DraftOptions options = {.most_drafted = 32}) : n_sequences(n) {
    if (!options.drafter) options.drafter = &drafter;
    planner.emplace(options);
    sequences.resize(static_cast<size_t>(n));
    controls.resize(static_cast<size_t>(n));
    drafts.resize(static_cast<size_t>(n));
    for (size_t i = 0; i < sequences.size(); ++i) {
      sequences[i].id = SequenceId{static_cast<uint32_t>(i)};
      sequences[i].n_stored = 100;
    }
  }
  // What class c is known for.
  void teach(int32_t sequence, double acceptance) {
    std::mt19937 random(1);
    const auto c = static_cast<uint8_t>(sequence % kDraftClasses);
    for (int i = 0; i < 3000; ++i) {
      const bool right = static_cast<double>(random() % 1000) < 1000 * acceptance;
      controls[static_cast<size_t>(sequence)].observe(std::array{c}, right ? 1 : 0, 0.01);
      controls[static_cast<size_t>(sequence)].guessed(std::array{c});
    }
  }
  std::vector<int32_t> plan(const StepModel& model, int32_t room = 1000, int32_t most = 15) {
    PlainStep step{.n_sequences = n_sequences};
    std::vector<Draft*> asked;
    for (size_t i = 0; i < sequences.size(); ++i) {
      step.work += StepWork::of(100, 1);
      sequences[i].tokens.assign(101, 0);
      sequences[i].n_draft = 0;
      drafts[i] = {.sequence = &sequences[i], .control = &controls[i], .most = most, .left = 99};
      asked.push_back(&drafts[i]);
    }
    spent = planner->plan(step, model, asked, room);
    std::vector<int32_t> lengths;
    for (const Sequence& s : sequences) {
      lengths.push_back(s.n_draft);
      EXPECT_EQ(s.size(), 101);
    }
    return lengths;
  }
  // Tokens per second of a step with drafts of these lengths, by the rule's own figures.
  double rate(const StepModel& model, const std::vector<int32_t>& lengths) const {
    StepWork work;
    double tokens = n_sequences;
    for (size_t i = 0; i < lengths.size(); ++i) {
      work += StepWork::of(100, 1 + lengths[i]);
      const double p = controls[i].acceptance(static_cast<int32_t>(i) % kDraftClasses);
      for (int32_t k = 1; k <= lengths[i]; ++k) tokens += std::pow(p, k);
    }
    return tokens / (model.seconds(work) + spent);
  }

  SomeDrafter drafter;
  int32_t n_sequences;
  std::optional<DraftPlanner> planner;
  std::vector<Sequence> sequences;
  std::vector<DraftControl> controls;
  std::vector<Draft> drafts;
  double spent = 0;
};

// No other lengths give more tokens per second: all of two sequences' are tried.
TEST(DraftPlanner, FreeGuessesAreComputedAsFarAsTheyPay) {
  for (const double token : {0.0001, 0.001, 0.004}) {
    const StepModel model = model_of(token);
    for (const double a : {0.1, 0.5, 0.95}) {
      Rig rig(2);
      rig.teach(0, a);
      rig.teach(1, 0.7);
      const std::vector<int32_t> lengths = rig.plan(model);
      double best = 0;
      for (int32_t i = 0; i <= 15; ++i) {
        for (int32_t k = 0; k <= 15; ++k) best = std::max(best, rig.rate(model, {i, k}));
      }
      EXPECT_NEAR(rig.rate(model, lengths) / best, 1, 1e-6) << token << ' ' << a;
    }
  }
}

TEST(DraftPlanner, ManySequencesNeedMoreOfAGuess) {
  const StepModel model = model_of(0.002);
  for (const double p : {0.5, 0.8}) {
    int32_t before = 99;
    for (const int32_t n : {1, 2, 4, 8}) {
      Rig rig(n);
      for (int32_t i = 0; i < n; ++i) rig.teach(i, p);
      const int32_t length = rig.plan(model)[0];
      EXPECT_LE(length, before);
      before = length;
    }
    EXPECT_EQ(before, p == 0.5 ? 0 : before);
  }
}

TEST(DraftPlanner, BoundsHold) {
  const StepModel model = model_of(0);
  Rig rig(5);
  for (int32_t i = 0; i < 5; ++i) rig.teach(i, 0.99);
  int32_t sum = 0;
  for (const int32_t n : rig.plan(model)) sum += n;
  EXPECT_EQ(sum, 32);
  sum = 0;
  for (const int32_t n : rig.plan(model, 7)) sum += n;
  EXPECT_EQ(sum, 7);
  for (const int32_t n : rig.plan(model, 1000, 2)) EXPECT_EQ(n, 2);
  Rig fixed(3, {.most_drafted = 8, .draft_tokens = 3});
  for (int32_t i = 0; i < 3; ++i) fixed.teach(i, 0);
  EXPECT_EQ(fixed.plan(model), (std::vector<int32_t>{3, 3, 2}));
}

TEST(DraftPlanner, ACostlyDrafterIsAskedIfItPays) {
  const StepModel model = model_of(0.0005);
  for (const double p : {0.05, 0.4, 0.8, 0.97}) {
    for (const double pass : {0.0005, 0.002, 0.008, 0.05}) {
      Rig rig(1);
      rig.drafter.pass_seconds = pass;
      rig.teach(0, p);
      const int32_t length = rig.plan(model)[0];
      // Every length, with what guessing so many takes.
      const double plain = rig.n_sequences / model.seconds(StepWork::of(100, 1));
      double best = plain;
      for (int32_t n = 1; n <= 15; ++n) {
        rig.spent = pass * n;
        best = std::max(best, rig.rate(model, {n}));
      }
      rig.spent = pass * rig.drafter.asked * length;
      if (best < 1.02 * plain) {
        EXPECT_LE(length, 3) << p << ' ' << pass;
      } else if (best > 1.1 * plain) {
        ASSERT_GT(length, 0) << p << ' ' << pass;
        EXPECT_GT(rig.rate(model, {length}), 0.93 * best) << p << ' ' << pass << ' ' << length;
      }
      if (pass == 0.05) {
        EXPECT_EQ(rig.drafter.asked, 0u);
      }
    }
  }
}

// Of several sequences it is asked for those that it is right about.
TEST(DraftPlanner, ACostlyDrafterIsAskedForWhomItPays) {
  const StepModel model = model_of(0.001);
  Rig rig(4);
  rig.drafter.pass_seconds = 0.001;
  for (int32_t i = 0; i < 4; ++i) rig.teach(i, i == 2 ? 0.95 : 0.02);
  const std::vector<int32_t> lengths = rig.plan(model);
  EXPECT_EQ(rig.drafter.asked, 1u);
  EXPECT_GT(lengths[2], 2);
  EXPECT_EQ(lengths[0] + lengths[1] + lengths[3], 0);
  EXPECT_GT(rig.spent, 0);
  EXPECT_NEAR(rig.drafter.last_spare, 0.5 * (0.010 + 4 * 0.001), 0.001);
}

// Nobody reads a prompt of many seconds for a few tokens.
TEST(DraftPlanner, ReadingHasToPayOff) {
  const StepModel model = model_of(0.0005);
  for (const double unread : {0.0, 0.1, 10.0}) {
    Rig rig(1);
    rig.drafter.pass_seconds = 0.0005;
    rig.drafter.unread = unread;
    rig.teach(0, 0.8);
    EXPECT_EQ(rig.plan(model)[0] > 0, unread < 1);
  }
}

TEST(DraftControl, LearnsAndForgives) {
  DraftControl control;
  const double first = control.acceptance(4);
  const std::vector<uint8_t> classes(8, 4);
  for (int i = 0; i < 50; ++i) control.observe(classes, 0);
  EXPECT_LT(control.acceptance(4), 0.01);
  EXPECT_EQ(control.acceptance(3), DraftControl().acceptance(3));
  for (int i = 0; i < 3000; ++i) control.pass(4, DraftControl());
  EXPECT_NEAR(control.acceptance(4), first, 0.01);
  for (int i = 0; i < 50; ++i) control.observe(std::span(classes).first(3), 3);
  EXPECT_GT(control.acceptance(4), 0.99);
  // Each guess counts for its own class, up to the first wrong one.
  DraftControl mixed;
  const std::vector<uint8_t> two = {1, 2, 3};
  for (int i = 0; i < 50; ++i) mixed.observe(two, 1);
  EXPECT_GT(mixed.acceptance(1), 0.99);
  EXPECT_LT(mixed.acceptance(2), 0.01);
  EXPECT_EQ(mixed.acceptance(3), DraftControl().acceptance(3));
}

TEST(DraftControl, FadesIntoWhatIsKnownOfOthers) {
  DraftControl others, control;
  const std::vector<uint8_t> classes(4, 2);
  for (int i = 0; i < 500; ++i) others.observe(classes, 0, DraftControl::kWeightOfAll);
  for (int i = 0; i < 1500; ++i) others.guessed(classes, DraftControl::kWeightOfAll);
  EXPECT_LT(others.acceptance(2), 0.01);
  EXPECT_LT(others.expected(), 0.01);
  for (int i = 0; i < 50; ++i) control.observe(classes, 4);
  for (int i = 0; i < 3000; ++i) control.pass(others);
  EXPECT_LT(control.acceptance(2), 0.02);
  EXPECT_LT(control.expected(), 0.02);
  EXPECT_EQ(control.acceptance(3), DraftControl().acceptance(3));
  // A drafter that hasn't been asked for long is given another chance.
  for (int i = 0; i < 10000; ++i) others.pass(DraftControl(), DraftControl::kFadingOfAll);
  EXPECT_NEAR(others.expected(), DraftControl().expected(), 0.01);
}

// What is wrong all the time costs next to nothing: a thousand steps of a drafter of either kind.
TEST(DraftPlanner, GivesUpWhatIsNeverRight) {
  const StepModel model = model_of(0.0005);
  for (const double pass : {0.0, 0.002}) {
    for (const int32_t n : {1, 8}) {
      Rig rig(n);
      rig.drafter.pass_seconds = pass;
      StepWork work;
      for (int32_t i = 0; i < n; ++i) work += StepWork::of(100, 1);
      const double plain = model.seconds(work);
      double wasted = 0;
      for (int step = 0; step < 1000; ++step) {
        const std::vector<int32_t> lengths = rig.plan(model);
        StepWork drafted;
        for (size_t i = 0; i < lengths.size(); ++i) {
          drafted += StepWork::of(100, 1 + lengths[i]);
          if (lengths[i] == 0) continue;
          const auto classes =
              std::span(rig.drafts[i].classes).first(static_cast<size_t>(lengths[i]));
          rig.controls[i].observe(classes, 0);
          rig.planner->observe(classes, 0);
        }
        if (step >= 30) wasted += model.seconds(drafted) - plain + rig.spent;
      }
      EXPECT_LT(wasted, 0.02 * 970 * plain) << pass << ' ' << n;
    }
  }
}

}  // namespace
}  // namespace farthing
