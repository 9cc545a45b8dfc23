#include "sched/suffix_drafter.h"

#include <gtest/gtest.h>

#include <vector>

namespace farthing {
namespace {

using Tokens = std::vector<TokenId>;

class Suffix : public testing::Test {
 protected:
  Tokens guess(uint32_t id, Tokens tokens, int32_t most, CacheSalt salt = {}) {
    sequence_.id = SequenceId{id};
    sequence_.tokens = std::move(tokens);
    sequence_.n_draft = 0;
    draft_ = {.sequence = &sequence_, .salt = salt, .control = &control_, .most = most};
    drafter_.guess(std::vector{&draft_}, 0);
    return {sequence_.tokens.begin() + sequence_.size(), sequence_.tokens.end()};
  }
  void learn(Tokens answer, CacheSalt salt = {}) {
    Sequence s;
    s.tokens = {900, 901};  // the prompt
    s.n_prompt = 2;
    s.tokens.insert(s.tokens.end(), answer.begin(), answer.end());
    drafter_.learn(s, salt);
  }

  SuffixDrafter drafter_;
  DraftControl control_;
  Sequence sequence_;
  Draft draft_;
};

TEST_F(Suffix, GoesOnAsTheSequenceDid) {
  EXPECT_EQ(guess(1, {5, 6, 7, 8, 1, 5, 6}, 3), (Tokens{7, 8, 1}));
  EXPECT_EQ(draft_.classes[0], 0);
  // As it grows, a token at a time; the longest run counts, not the latest.
  EXPECT_EQ(guess(1, {5, 6, 7, 8, 1, 5, 6, 9, 2, 7, 5, 6, 7}, 2), (Tokens{8, 1}));
  EXPECT_EQ(guess(2, {1, 2, 1, 2, 1, 2, 1, 2}, 5), (Tokens{1, 2, 1, 2, 1}));
  EXPECT_TRUE(guess(3, {1, 2, 3}, 5).empty());
  EXPECT_TRUE(guess(4, {7, 2, 7}, 5).empty());  // one token is no match
  drafter_.forget(SequenceId{1});
  EXPECT_EQ(guess(1, {3, 4, 3, 4}, 1), (Tokens{3}));
}

TEST_F(Suffix, GoesOnAsEarlierAnswersDid) {
  learn({10, 11, 12, 13, 14});
  EXPECT_EQ(guess(1, {1, 10, 11, 12}, 15), (Tokens{13, 14}));  // and not across the answer's end
  EXPECT_EQ(draft_.classes[0], kDraftClasses / 2 + 1);
  learn({13, 14, 15, 16});
  EXPECT_EQ(guess(1, {1, 10, 11, 12, 13, 14}, 2), (Tokens{}));  // the longest ends there
  EXPECT_EQ(guess(2, {2, 13, 14}, 2), (Tokens{15, 16}));
  EXPECT_TRUE(guess(3, {1, 900, 901}, 2).empty());  // prompts aren't learned
  // Its own text is preferred where both are as sure.
  EXPECT_EQ(guess(4, {13, 14, 77, 13, 14}, 1), (Tokens{77}));
  // And not where it is known to be wrong.
  const uint8_t own[] = {0};
  for (int i = 0; i < 99; ++i) control_.observe(own, 0);
  EXPECT_EQ(guess(4, {13, 14, 77, 13, 14}, 1), (Tokens{15}));
}

TEST_F(Suffix, SaltsSeeNothingOfEachOther) {
  const CacheSalt a{1, 2}, b{1, 3};
  learn({10, 11, 12, 13}, a);
  EXPECT_TRUE(guess(1, {10, 11}, 4, b).empty());
  EXPECT_TRUE(guess(2, {10, 11}, 4).empty());
  EXPECT_EQ(guess(3, {10, 11}, 4, a), (Tokens{12, 13}));
  learn({10, 11, 22, 23}, b);
  EXPECT_EQ(guess(4, {10, 11}, 4, b), (Tokens{22, 23}));
  EXPECT_EQ(guess(5, {10, 11}, 4, a), (Tokens{12, 13}));
}

// Who hasn't been here for longest is forgotten; each past keeps its latest answers.
TEST_F(Suffix, PastsAreBounded) {
  const auto salt = [](uint64_t i) { return CacheSalt{9, i}; };
  for (uint64_t i = 0; i < SuffixDrafter::kMostPasts; ++i) learn({10, 11, 12}, salt(i));
  EXPECT_FALSE(guess(1, {10, 11}, 1, salt(0)).empty());  // used
  learn({10, 11, 12}, salt(99));
  EXPECT_FALSE(guess(2, {10, 11}, 1, salt(0)).empty());
  EXPECT_TRUE(guess(3, {10, 11}, 1, salt(1)).empty());
  EXPECT_FALSE(guess(4, {10, 11}, 1, salt(99)).empty());

  const int32_t n = SuffixDrafter::kPastTokens / 4;
  for (TokenId first = 0; first < 20; ++first) {
    Tokens answer;
    for (int32_t i = 0; i < n; ++i) answer.push_back(10000 * first + i);
    learn(answer, salt(99));
    // The matches of a sequence that was there before go on in whatever text they are.
    EXPECT_EQ(guess(5, {10000 * first, 10000 * first + 1}, 1, salt(99)),
              (Tokens{10000 * first + 2}));
    drafter_.forget(SequenceId{5});
  }
  EXPECT_TRUE(guess(6, {0, 1}, 1, salt(99)).empty());
  EXPECT_FALSE(guess(7, {160000, 160001}, 1, salt(99)).empty());
  // An answer longer than a past.
  Tokens answer;
  for (int32_t i = 0; i < 3 * SuffixDrafter::kPastTokens; ++i) answer.push_back(1000000 + i);
  learn(answer, salt(99));
  EXPECT_TRUE(guess(8, {1000000, 1000001}, 1, salt(99)).empty());
  const TokenId late = 1000000 + 3 * SuffixDrafter::kPastTokens - 5;
  EXPECT_EQ(guess(9, {late, late + 1}, 1, salt(99)), (Tokens{late + 2}));
}

// A long prompt is read over several steps.
TEST_F(Suffix, ReadsLongPromptsPieceByPiece) {
  Tokens tokens;
  for (int i = 0; i < 5000; ++i) tokens.push_back(i);
  tokens.push_back(40);
  tokens.push_back(41);
  int n_steps = 1;
  while (guess(1, tokens, 2).empty()) ASSERT_LT(++n_steps, 20);
  EXPECT_GT(n_steps, 3);
  EXPECT_EQ(guess(1, tokens, 2), (Tokens{42, 43}));
}

}  // namespace
}  // namespace farthing
