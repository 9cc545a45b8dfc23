#include "sched/lookup_drafter.h"

#include <gtest/gtest.h>

#include <random>

namespace farthing {
namespace {

// The slow twin: every earlier end is tried.
LookupIndex::Match longest(std::span<const TokenId> tokens) {
  LookupIndex::Match best;
  const auto size = static_cast<int32_t>(tokens.size());
  for (int32_t end = size - 1; end >= LookupIndex::kGram; --end) {
    int32_t n = 0;
    while (n < LookupIndex::kMostMatched && n < end &&
           tokens[static_cast<size_t>(end - 1 - n)] == tokens[static_cast<size_t>(size - 1 - n)])
      ++n;
    if (n >= LookupIndex::kGram && n > best.n_matched) best = {n, end};
  }
  return best;
}

TEST(LookupIndex, FindsTheLongestAndLatest) {
  LookupIndex index;
  const std::vector<TokenId> tokens = {1, 2, 3, 9, 2, 3, 8, 1, 2, 3};
  const auto match = index.find(tokens);
  EXPECT_EQ(match.n_matched, 3);
  EXPECT_EQ(match.next, 3);  // 1 2 3, rather than the later 2 3
  EXPECT_EQ(LookupIndex().find(std::vector<TokenId>{4}).n_matched, 0);
  EXPECT_EQ(LookupIndex().find(std::vector<TokenId>{4, 5, 6}).n_matched, 0);
}

TEST(LookupIndex, IsItsSlowTwin) {
  std::mt19937 random(1);
  for (const uint32_t vocabulary : {4u, 9u, 60u}) {
    std::vector<TokenId> tokens;
    LookupIndex index;
    for (int i = 0; i < 1500; ++i) {
      const auto times = 1 + random() % 4;  // it also grows by several at once
      for (uint32_t k = 0; k < times; ++k)
        tokens.push_back(static_cast<TokenId>(random() % vocabulary));
      const auto got = index.find(tokens), want = longest(tokens);
      // With few tokens there are more occurrences than it tries.
      if (vocabulary >= 60) {
        ASSERT_EQ(got.n_matched, want.n_matched) << tokens.size();
        ASSERT_EQ(got.next, want.next);
      } else {
        ASSERT_LE(got.n_matched, want.n_matched);
        ASSERT_GE(got.n_matched, std::min(want.n_matched, LookupIndex::kGram));
      }
    }
  }
}

TEST(LookupDrafter, GoesOnAsBefore) {
  LookupDrafter drafter;
  DraftControl control;
  Sequence s;
  Draft draft{.sequence = &s, .control = &control};
  const auto guess = [&](uint32_t id, std::vector<TokenId> tokens, int32_t most) {
    s.id = SequenceId{id};
    s.tokens = std::move(tokens);
    s.n_draft = 0;
    draft.most = most;
    drafter.guess(std::vector{&draft}, 0);
    return std::vector<TokenId>(s.tokens.begin() + s.size(), s.tokens.end());
  };
  EXPECT_EQ(guess(3, {5, 6, 7, 8, 1, 5, 6}, 3), (std::vector<TokenId>{7, 8, 1}));
  EXPECT_EQ(draft.classes[2], 0);
  // A loop goes on as a loop, and the longer the match, the surer.
  EXPECT_EQ(guess(4, {1, 2, 1, 2, 1, 2, 1, 2}, 5), (std::vector<TokenId>{1, 2, 1, 2, 1}));
  EXPECT_GT(draft.classes[4], 0);
  drafter.forget(SequenceId{4});
  EXPECT_TRUE(guess(4, {3, 4, 5}, 5).empty());
}

// Tens of thousands of the same token cost no more than others.
TEST(LookupIndex, ARunOfOneTokenIsBounded) {
  LookupIndex index;
  std::vector<TokenId> tokens(50000, 7);
  for (int i = 0; i < 2000; ++i) {
    tokens.push_back(7);
    EXPECT_EQ(index.find(tokens).n_matched, LookupIndex::kMostMatched);
  }
}

}  // namespace
}  // namespace farthing
