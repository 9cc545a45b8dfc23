#include "base/thread_team.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

namespace farthing {
namespace {

// Aborts a test in which nothing has moved for half a minute: a lost job would hang for ever.
class Watchdog {
 public:
  Watchdog() : thread_([this] { watch(); }) {}
  ~Watchdog() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }
  void moved() { moves_.fetch_add(1, std::memory_order_relaxed); }

 private:
  void watch() {
    std::unique_lock lock(mutex_);
    for (int64_t before = -1;;) {
      if (wake_.wait_for(lock, std::chrono::seconds(30), [this] { return over_; })) return;
      const int64_t now = moves_.load(std::memory_order_relaxed);
      if (now == before) {
        std::fprintf(
            stderr, "ThreadTeam hangs: no job has ended for half a minute (%ld did)\n", now);
        std::abort();
      }
      before = now;
    }
  }

  std::atomic<int64_t> moves_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool over_ = false;  // guarded by mutex_
  std::thread thread_;
};

// Puts the thread that makes it aside thousands of times a second, wherever it happens to be: what
// the system does to it once in a while between any two instructions. (TSan hands signals over at
// calls only: there it does little.)
class Interruptions {
 public:
  Interruptions() : victim_(pthread_self()) {
    struct sigaction action{};
    action.sa_handler = [](int) {
      const timespec aside{.tv_sec = 0, .tv_nsec = 20000};
      nanosleep(&aside, nullptr);
    };
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &action, &before_);
    thread_ = std::thread([this] {
      while (!over_) {
        pthread_kill(victim_, SIGUSR1);
        std::this_thread::sleep_for(std::chrono::microseconds(20));
      }
    });
  }
  ~Interruptions() {
    over_ = true;
    thread_.join();
    sigaction(SIGUSR1, &before_, nullptr);
  }

 private:
  pthread_t victim_;
  struct sigaction before_{};
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

// Back-to-back jobs, too small to be worth it and each of another size and grain: a worker that
// ends the last piece of one job asks for more while the caller already writes the next job down.
// Gives the first job (from 1) that computed an index not exactly once; 0: none did.
int64_t stress(int32_t threads, int64_t n_jobs, uint32_t seed, Watchdog& watchdog) {
  ThreadTeam team(threads);
  std::minstd_rand random(seed);
  std::vector<int32_t> counts(64, 0);  // plain: the ranges are disjoint, or tsan sees it
  for (int64_t job = 1; job <= n_jobs; ++job) {
    const int64_t n = 2 + random() % 63;
    const int64_t grain = 1 + random() % 3;
    const int64_t wanted = n * (n - 1) / 2;
    std::atomic<int64_t> sum = 0;
    team.parallel_for(n, grain, [&](int64_t begin, int64_t end) {
      int64_t part = 0;
      for (int64_t i = begin; i < end; ++i) {
        ++counts[i];
        part += i;
      }
      sum.fetch_add(part, std::memory_order_relaxed);
    });
    if (sum.load(std::memory_order_relaxed) != wanted) return job;
    for (int64_t i = 0; i < 64; ++i) {
      if (counts[i] != (i < n ? 1 : 0)) return job;
      counts[i] = 0;
    }
    watchdog.moved();
  }
  return 0;
}

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

TEST(ThreadTeam, StressOfTinyJobsBackToBack) {
  Watchdog watchdog;
  for (int32_t threads : {2, 3, 4}) {
    EXPECT_EQ(stress(threads, 200000, static_cast<uint32_t>(threads), watchdog), 0) << threads;
  }
}

// The caller is put aside while it writes a job down, and workers come late to the one before.
TEST(ThreadTeam, StressOfACallerThatIsPutAsideAnywhere) {
  Watchdog watchdog;
  Interruptions interruptions;
  for (int32_t threads : {2, 3, 4, 8}) {
    EXPECT_EQ(stress(threads, 100000, 50 + static_cast<uint32_t>(threads), watchdog), 0) << threads;
  }
}

// More threads than CPUs.
TEST(ThreadTeam, StressOfTeamsThatShareTheCpus) {
  Watchdog watchdog;
  const auto cpus = static_cast<int32_t>(std::max(2u, std::thread::hardware_concurrency()));
  std::vector<std::thread> callers;
  for (const int32_t threads : {cpus, 2 * cpus + 1, 3, 2}) {
    callers.emplace_back([threads, &watchdog] {
      EXPECT_EQ(stress(threads, 30000, 100 + static_cast<uint32_t>(threads), watchdog), 0)
          << threads;
    });
  }
  for (std::thread& caller : callers) caller.join();
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
    if (begin == 0) {  // whoever took the first piece
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
