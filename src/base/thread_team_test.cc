#include "base/thread_team.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace farthing {
namespace {

TEST(ThreadTeam, EveryIndexIsComputedOnceInRangesOfWholeGrains) {
  for (int32_t threads : {1, 2, 3, 8}) {
    ThreadTeam team(threads);
    EXPECT_EQ(team.size(), threads);
    for (int64_t n : {0, 1, 2, 15, 16, 17, 31, 64, 100, 1000, 4099}) {
      for (int64_t grain : {1, 3, 16, 5000}) {
        std::vector<int> counts(n, 0);  // plain: the ranges are disjoint, or tsan sees it
        std::atomic<int> bad_ranges = 0;
        team.parallel_for(n, grain, [&](int64_t begin, int64_t end) {
          if (begin >= end || begin % grain != 0 || (end % grain != 0 && end != n)) ++bad_ranges;
          for (int64_t i = begin; i < end; ++i) ++counts[i];
        });
        EXPECT_EQ(bad_ranges, 0);
        for (int64_t i = 0; i < n; ++i)
          ASSERT_EQ(counts[i], 1) << threads << " " << n << " " << grain;
      }
    }
  }
}

TEST(ThreadTeam, ManyShortJobsSeeEachOthersResults) {
  ThreadTeam team(4);
  std::vector<int64_t> values(64, 0);
  for (int job = 0; job < 3000; ++job) {
    team.parallel_for(64, 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) values[i] += 1;
    });
  }
  for (int64_t v : values) EXPECT_EQ(v, 3000);
}

// A worker that comes late to a small job meets the larger one after it: it must neither compute
// units of that one twice nor count them for the wrong job.
TEST(ThreadTeam, JobsOfManySizesInARow) {
  for (int32_t threads : {2, 3, 4}) {
    ThreadTeam team(threads);
    std::vector<int64_t> values(600, 0);
    for (int64_t job = 0; job < 20000; ++job) {
      const int64_t n = 2 + (job * 7919) % 599;
      std::fill(values.begin(), values.end(), 0);
      team.parallel_for(n, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++values[i];
      });
      for (int64_t i = 0; i < 600; ++i) ASSERT_EQ(values[i], i < n ? 1 : 0) << job << " " << i;
    }
  }
}

TEST(ThreadTeam, WorkersWakeAfterTheyParked) {
  ThreadTeam team(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::atomic<int64_t> sum = 0;
    team.parallel_for(100, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) sum += i;
    });
    EXPECT_EQ(sum, 4950);
  }
}

TEST(ThreadTeam, AStalledThreadLeavesTheCommonRestToOthers) {
  ThreadTeam team(2);
  std::atomic<int64_t> of_stalled = 0, of_other = 0;
  team.parallel_for(400, 1, [&](int64_t begin, int64_t end) {
    if (begin == 0) {  // the static part of the caller
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      of_stalled += end - begin;
    } else {
      of_other += end - begin;
    }
  });
  EXPECT_EQ(of_stalled + of_other, 400);
  EXPECT_LT(of_stalled, 200);
}

TEST(ThreadTeam, UsesMoreThanOneThread) {
  ThreadTeam team(2);
  std::atomic<int> arrived = 0;
  team.parallel_for(2, 1, [&](int64_t, int64_t) {
    ++arrived;  // each of two units waits for the other: only two threads can pass
    for (int i = 0; i < 20000 && arrived < 2; ++i)
      std::this_thread::sleep_for(std::chrono::microseconds(100));
  });
  EXPECT_EQ(arrived, 2);
}

}  // namespace
}  // namespace farthing
