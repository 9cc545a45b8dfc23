#include "cache/kv_pool.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace farthing {
namespace {

TEST(KVPool, LeasesAreDisjointAndComeBack) {
  KVPool pool(8);
  {
    auto a = pool.lease(3);
    auto b = pool.lease(5);
    ASSERT_TRUE(a && b);
    std::set<BlockId> all(a->blocks().begin(), a->blocks().end());
    all.insert(b->blocks().begin(), b->blocks().end());
    EXPECT_EQ(all.size(), 8u);
    EXPECT_EQ(pool.n_free(), 0);
    EXPECT_FALSE(pool.lease(1));
    pool.check_integrity();
  }
  EXPECT_EQ(pool.n_free(), 8);
  pool.check_integrity();
}

TEST(KVPool, TooLargeALeaseTakesNothing) {
  KVPool pool(4);
  EXPECT_FALSE(pool.lease(5));
  EXPECT_FALSE(pool.lease(-1));
  EXPECT_EQ(pool.n_free(), 4);
}

TEST(KVPool, RandomTraceConservesBlocks) {
  std::mt19937 rng(1);
  KVPool pool(64);
  std::vector<Lease> held;
  int32_t n_held = 0;
  for (int step = 0; step < 5000; ++step) {
    if (rng() % 2 == 0) {
      const int32_t n = static_cast<int32_t>(rng() % 9);
      const bool fits = n <= pool.n_free();
      auto lease = pool.lease(n);
      ASSERT_EQ(lease.has_value(), fits);
      if (lease) {
        held.push_back(std::move(*lease));
        n_held += n;
      }
    } else if (!held.empty()) {
      const size_t i = rng() % held.size();
      n_held -= static_cast<int32_t>(held[i].blocks().size());
      std::swap(held[i], held.back());
      held.pop_back();
    }
    ASSERT_EQ(pool.n_leased(), n_held);
    pool.check_integrity();
  }
}

}  // namespace
}  // namespace farthing
