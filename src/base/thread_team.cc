#include "base/thread_team.h"

#include <immintrin.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/cpu.h"

namespace farthing {
namespace {

// Longer than the gaps inside a step, also where a neighbour holds one of the threads up; shorter
// than what a waiting core costs others.
constexpr double kSpinSeconds = 200e-6;
constexpr int kPausesPerClockRead = 32;

// Spins until `done()`; false if it took longer than it may.
template <class Done>
bool spin_until(bool may_spin, Done done) {
  if (done()) return true;
  if (!may_spin) return false;
  const TimePoint start = Clock::now();
  do {
    for (int i = 0; i < kPausesPerClockRead; ++i) {
      if (done()) return true;
      _mm_pause();
    }
  } while (seconds_between(start, Clock::now()) < kSpinSeconds);
  return done();
}

// A number that threads can sleep on until it changes. Whoever changes it makes a system call only
// if somebody sleeps (std::atomic's notify also does when a thread sleeps on another atomic that
// shares its waiters, as all atomics at the start of a cache line do in libstdc++ 12).
struct alignas(64) Signal {
  std::atomic<uint32_t> value{0};
  std::atomic<int32_t> sleepers{0};

  void sleep_while(uint32_t old) {
    // Either this thread sees the change below, or who changes the number sees the sleeper.
    sleepers.fetch_add(1, std::memory_order_seq_cst);
    while (value.load(std::memory_order_seq_cst) == old)
      syscall(SYS_futex, &value, FUTEX_WAIT_PRIVATE, old, nullptr, nullptr, 0);
    sleepers.fetch_sub(1, std::memory_order_relaxed);
  }
  // Returns the number as it was.
  uint32_t add(uint32_t n) { return value.fetch_add(n, std::memory_order_seq_cst); }
  void wake_all() {
    if (sleepers.load(std::memory_order_seq_cst) == 0) return;
    syscall(SYS_futex, &value, FUTEX_WAKE_PRIVATE, INT32_MAX, nullptr, nullptr, 0);
  }
};
static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

}  // namespace

// A job's units (of `grain` indices) are claimed from the front, a part of what is left at a time:
// large pieces first, small ones at the end, so that all finish together. Nobody has a share of his
// own: a worker that the system does not let run delays nothing but the piece it is in.
struct ThreadTeam::Impl {
  explicit Impl(int32_t n_threads) : spin(has_cpus_for(cpu_budget(), n_threads)), shares(2 * n_threads) {
    for (int32_t i = 1; i < n_threads; ++i) workers.emplace_back([this] { serve(); });
  }
  ~Impl() {
    stop.store(true, std::memory_order_relaxed);
    announce();
    for (std::thread& w : workers) w.join();
  }

  void announce() {
    epoch.add(1);
    epoch.wake_all();
  }

  void serve() {
    for (uint32_t seen = 0;;) {
      const auto changed = [&] { return epoch.value.load(std::memory_order_acquire) != seen; };
      while (!spin_until(spin, changed)) epoch.sleep_while(seen);
      seen = epoch.value.load(std::memory_order_acquire);
      if (stop.load(std::memory_order_relaxed)) return;
      compute();
    }
  }

  // Works on the job that the ticket names until nothing of it is left to claim. A worker may come
  // late and find another job there: what it read of a job counts only if its claim succeeds. It
  // can't succeed with what belongs to another job: run() closes the ticket before it changes
  // anything, and who acquires a changed value sees the closed ticket.
  void compute() {
    uint64_t t = ticket.load(std::memory_order_acquire);
    for (;;) {
      const uint32_t unit = static_cast<uint32_t>(t);
      const uint32_t all = units.load(std::memory_order_acquire);
      const int64_t size = n.load(std::memory_order_acquire);
      const int64_t step = grain.load(std::memory_order_acquire);
      const Body fn = body.load(std::memory_order_acquire);
      void* fn_context = context.load(std::memory_order_acquire);
      if (unit >= all) return;
      const uint32_t piece = std::max(1u, (all - unit) / shares);
      if (!ticket.compare_exchange_weak(
              t, t + piece, std::memory_order_acq_rel, std::memory_order_acquire)) {
        continue;
      }
      fn(fn_context, unit * step, std::min(size, (unit + piece) * step));
      if (done.add(piece) + piece == all) done.wake_all();
      t = ticket.load(std::memory_order_acquire);
    }
  }

  void run(int64_t n_in, int64_t grain_in, uint32_t units_in, Body fn, void* fn_context) {
    ticket.store(static_cast<uint64_t>(++job) << 32 | kClosed, std::memory_order_relaxed);
    // Each of these is a release: it carries the closed ticket along.
    n.store(n_in, std::memory_order_release);
    grain.store(grain_in, std::memory_order_release);
    units.store(units_in, std::memory_order_release);
    body.store(fn, std::memory_order_release);
    context.store(fn_context, std::memory_order_release);
    done.value.store(0, std::memory_order_relaxed);
    ticket.store(static_cast<uint64_t>(job) << 32, std::memory_order_release);
    announce();
    compute();
    const auto finished = [&] { return done.value.load(std::memory_order_acquire) == units_in; };
    while (!spin_until(spin, finished)) {
      const uint32_t so_far = done.value.load(std::memory_order_acquire);
      if (so_far != units_in) done.sleep_while(so_far);
    }
  }

  static constexpr uint32_t kClosed = UINT32_MAX;  // no unit: there are fewer

  const bool spin;
  const uint32_t shares;  // a claim takes this part of what is left
  Signal epoch;           // changes when there is something to do
  Signal done;            // units of the current job that are finished
  // The current job's number (upper half) and its first unclaimed unit (lower half), or kClosed.
  alignas(64) std::atomic<uint64_t> ticket{0};
  alignas(64) std::atomic<int64_t> n{0};
  std::atomic<int64_t> grain{1};
  std::atomic<uint32_t> units{0};
  std::atomic<Body> body{nullptr};
  std::atomic<void*> context{nullptr};
  std::atomic<bool> stop{false};
  uint32_t job = 0;
  std::vector<std::thread> workers;
};

ThreadTeam::ThreadTeam(int32_t n_threads) {
  CHECK(n_threads >= 1);
  impl_ = std::make_unique<Impl>(n_threads);
}
ThreadTeam::~ThreadTeam() = default;

int32_t ThreadTeam::size() const {
  return static_cast<int32_t>(impl_->workers.size()) + 1;
}

void ThreadTeam::run(int64_t n, int64_t grain, Body body, void* context) {
  CHECK(n >= 0 && grain >= 1);
  if (n == 0) return;
  const int64_t units = ceil_div(n, grain);
  if (impl_->workers.empty() || units == 1) {
    body(context, 0, n);
    return;
  }
  CHECK(units <= INT32_MAX);
  impl_->run(n, grain, static_cast<uint32_t>(units), body, context);
}

}  // namespace farthing
