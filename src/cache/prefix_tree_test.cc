#include "cache/prefix_tree.h"

#include <gtest/gtest.h>

#include <numeric>

namespace farthing {
namespace {

constexpr int32_t B = kKVBlockTokens;
using Tokens = std::vector<TokenId>;

// n tokens that count up from `first`.
Tokens count_from(TokenId first, int32_t n) {
  Tokens tokens(static_cast<size_t>(n));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}
Tokens joined(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class PrefixTreeTest : public testing::Test {
 protected:
  // A sequence that stores its tokens.
  struct Stored {
    Lease lease;
    PrefixTree::Path path;
  };
  // As the scheduler does: what is there is shared, the rest is computed in steps of `step` tokens.
  Stored store(const Tokens& tokens, CacheSalt salt = {}, int32_t step = 7) {
    PrefixTree::Match match = tree.match(salt, tokens);
    Stored s{std::move(match.blocks), match.path};
    const int32_t size = static_cast<int32_t>(tokens.size());
    const int32_t more = blocks_for(size) - match.path.n_tokens / B;
    EXPECT_TRUE(tree.make_free(more));
    s.lease.append(*pool.lease(more));
    for (int32_t n = match.n_tokens(); n < size;) {
      n = std::min(n + step, size);
      tree.store(salt, s.path, tokens, n, s.lease);
      check();
    }
    return s;
  }
  int32_t matched(const Tokens& tokens, CacheSalt salt = {}) {
    return tree.match(salt, tokens).n_tokens();
  }
  void check() {
    pool.check_integrity();
    tree.check_integrity();
  }

  KVPool pool{12};
  PrefixTree tree{pool, 99};
};

// Hundreds of short prompts of another salt, all beneath the root, change nothing for this one.
TEST(PrefixTreeSalts, NeighboursAreNotNoticed) {
  KVPool pool(500);
  PrefixTree tree(pool, 5);
  const auto store = [&](CacheSalt salt, const Tokens& tokens) {
    PrefixTree::Path path;
    Lease lease = *pool.lease(1);
    tree.store(salt, path, tokens, static_cast<int32_t>(tokens.size()), lease);
  };
  const Tokens mine = count_from(1, 20);
  store({1, 0}, mine);
  for (int i = 0; i < 300; ++i) store({2, 0}, count_from(1000 * (i + 1), 20));
  EXPECT_EQ(tree.match({1, 0}, mine).n_tokens(), 20);
  EXPECT_EQ(tree.n_stored({1, 0}, mine), 20);
  EXPECT_EQ(tree.n_stored({2, 0}, mine), 0);
  tree.check_integrity();
}

TEST_F(PrefixTreeTest, AnEmptyTreeMatchesNothing) {
  const PrefixTree::Match match = tree.match({}, count_from(0, 3 * B));
  EXPECT_EQ(match.n_tokens(), 0);
  EXPECT_TRUE(match.blocks.blocks().empty());
  EXPECT_EQ(match.miss, CacheMiss::kNoEntry);
}

// root - [0..32) - [32..64) - [64..70)
TEST_F(PrefixTreeTest, LiveSequencesShareWholeBlocksAndCopyTheRest) {
  const Tokens tokens = count_from(0, 2 * B + 6);
  const Stored first = store(tokens);
  for (int32_t n : {1, 5, B - 1, B, B + 1, 2 * B, 2 * B + 3, 2 * B + 6}) {
    const Tokens begin(tokens.begin(), tokens.begin() + n);
    const PrefixTree::Match match = tree.match({}, begin);
    EXPECT_EQ(match.n_tokens(), n);
    EXPECT_EQ(match.n_copied, n % B);
    EXPECT_EQ(match.miss, CacheMiss::kNone);
    ASSERT_EQ(match.blocks.blocks().size(), static_cast<size_t>(n / B));
    for (size_t i = 0; i < match.blocks.blocks().size(); ++i) {
      EXPECT_EQ(match.blocks.blocks()[i], first.lease.blocks()[i]);
    }
    if (n % B > 0) {
      ASSERT_EQ(match.source.blocks().size(), 1u);
      EXPECT_EQ(match.source.blocks()[0], first.lease.blocks()[static_cast<size_t>(n / B)]);
    }
    check();
  }
  EXPECT_EQ(matched(joined(tokens, {1000})), 2 * B + 6);
  EXPECT_EQ(matched(joined(count_from(0, B + 10), {1000, 1001})), B + 10);
  EXPECT_EQ(matched(count_from(1, 3 * B)), 0);
}

TEST_F(PrefixTreeTest, TheLongestPartialBlockIsCopied) {
  const Stored a = store(joined(count_from(0, B), {1, 2, 3, 4}));
  const Stored b = store(joined(count_from(0, B), {1, 2, 3, 9, 9}));
  const Stored c = store(joined(count_from(0, B), {1, 7}));
  EXPECT_EQ(a.lease.blocks()[0], b.lease.blocks()[0]);
  EXPECT_EQ(a.lease.blocks()[0], c.lease.blocks()[0]);
  const PrefixTree::Match match = tree.match({}, joined(count_from(0, B), {1, 2, 3, 9, 8}));
  EXPECT_EQ(match.n_copied, 4);
  EXPECT_EQ(match.source.blocks()[0], b.lease.blocks()[1]);
}

TEST_F(PrefixTreeTest, EqualBlocksComputedSideBySideBecomeOne) {
  const Tokens tokens = count_from(0, 2 * B);
  Lease one = *pool.lease(2), two = *pool.lease(2);
  PrefixTree::Path path_one, path_two;
  EXPECT_FALSE(tree.store({}, path_one, tokens, 10, one));
  EXPECT_FALSE(tree.store({}, path_two, tokens, 20, two));
  EXPECT_FALSE(tree.store({}, path_one, tokens, B, one));
  check();
  const BlockTable before = two.blocks();
  EXPECT_TRUE(tree.store({}, path_two, tokens, 2 * B, two));
  check();
  EXPECT_EQ(two.blocks()[0], one.blocks()[0]);
  EXPECT_EQ(two.blocks()[1], before[1]);
  EXPECT_TRUE(tree.store({}, path_one, tokens, 2 * B, one));
  EXPECT_EQ(one.blocks(), two.blocks());
  EXPECT_EQ(pool.n_leased(), 2);
  check();
}

TEST_F(PrefixTreeTest, WhatEndedStaysUntilItsMemoryIsNeeded) {
  const Tokens a = count_from(0, 4 * B + 5), b = count_from(1000, 4 * B);
  store(a);
  store(b);
  EXPECT_EQ(pool.n_leased(), 0);
  EXPECT_EQ(pool.n_idle(), 9);
  EXPECT_EQ(matched(a), 4 * B + 5);  // now the later one used
  EXPECT_TRUE(tree.make_free(6));
  check();
  EXPECT_EQ(tree.n_evicted(), 3);
  EXPECT_EQ(matched(a), 4 * B + 5);
  const PrefixTree::Match match = tree.match({}, b);
  EXPECT_EQ(match.n_tokens(), B);
  EXPECT_EQ(match.miss, CacheMiss::kEvicted);
  check();
}

TEST_F(PrefixTreeTest, WhatIsLeasedIsNeverEvicted) {
  const Tokens a = count_from(0, 6 * B);
  const Stored held = store(Tokens(a.begin(), a.begin() + 3 * B));
  store(a);
  EXPECT_FALSE(tree.make_free(10));
  EXPECT_EQ(pool.n_free(), 9);
  EXPECT_EQ(matched(a), 3 * B);
  check();
}

TEST_F(PrefixTreeTest, SaltsShareNothing) {
  const Tokens tokens = count_from(0, 2 * B + 3);
  store(tokens, {1, 2});
  for (const CacheSalt other : {CacheSalt{}, CacheSalt{2, 1}, CacheSalt{1, 3}}) {
    const PrefixTree::Match match = tree.match(other, tokens);
    EXPECT_EQ(match.n_tokens(), 0);
    EXPECT_EQ(match.miss, CacheMiss::kNoEntry);
  }
  EXPECT_EQ(matched(tokens, {1, 2}), 2 * B + 3);
  const Stored again = store(tokens, {1, 3});
  EXPECT_EQ(matched(tokens, {1, 3}), 2 * B + 3);
  check();
}

}  // namespace
}  // namespace farthing
