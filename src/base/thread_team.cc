#include "base/thread_team.h"

#include <immintrin.h>

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

// Longer than the gaps inside a step (microseconds), shorter than what a waiting core costs others.
constexpr double kSpinSeconds = 50e-6;
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

// Spinning helps only if every thread has a CPU of its own all the time.
bool may_spin(int32_t n_threads) {
  const CpuBudget cpu = cpu_budget();
  return n_threads <= cpu.affinity && (cpu.quota == 0 || n_threads <= cpu.quota);
}

// How [0, n) is shared out, in units of `grain`: a static part each, so that a thread meets the
// same weights in every step, and a common rest taken in small pieces by who is free, so that a
// stolen CPU can't stall a job.
struct Split {
  Split(int64_t n_in, int64_t grain_in, int64_t n_threads)
      : n(n_in), grain(grain_in), units(ceil_div(n, grain)) {
    own = units * 3 / (4 * n_threads);
    const int64_t rest = units - own * n_threads;
    piece = std::max<int64_t>(1, rest / (4 * n_threads));
    first_common = own * n_threads;
  }
  int64_t begin_of(int64_t unit) const { return unit * grain; }
  int64_t end_of(int64_t unit) const { return std::min(n, unit * grain); }

  int64_t n, grain, units;
  int64_t own;           // units of each thread alone
  int64_t first_common;  // unit where the common rest starts
  int64_t piece;         // units taken at a time from the rest
};

struct alignas(64) Line {
  std::atomic<uint32_t> value{0};
};

}  // namespace

struct ThreadTeam::Impl {
  explicit Impl(int32_t n_threads) : spin(may_spin(n_threads)) {
    for (int32_t i = 1; i < n_threads; ++i) workers.emplace_back([this, i] { serve(i); });
  }
  ~Impl() {
    stop.store(true, std::memory_order_relaxed);
    announce();
    for (std::thread& w : workers) w.join();
  }

  void announce() {
    epoch.value.fetch_add(1, std::memory_order_release);
    epoch.value.notify_all();
  }

  void serve(int32_t index) {
    for (uint32_t seen = 0;; ++seen) {  // each epoch is one job for everybody
      const auto changed = [&] { return epoch.value.load(std::memory_order_acquire) != seen; };
      while (!spin_until(spin, changed)) epoch.value.wait(seen, std::memory_order_acquire);
      if (stop.load(std::memory_order_relaxed)) return;
      compute(index);
      if (pending.value.fetch_sub(1, std::memory_order_acq_rel) == 1) pending.value.notify_one();
    }
  }

  void compute(int32_t index) {
    const Split& s = *split;
    if (s.own > 0) body(context, s.begin_of(index * s.own), s.end_of((index + 1) * s.own));
    for (;;) {
      const int64_t unit = s.first_common + common.fetch_add(s.piece, std::memory_order_relaxed);
      if (unit >= s.units) return;
      body(context, s.begin_of(unit), s.end_of(std::min(unit + s.piece, s.units)));
    }
  }

  void run(const Split& job, Body fn, void* fn_context) {
    split = &job;
    body = fn;
    context = fn_context;
    common.store(0, std::memory_order_relaxed);
    pending.value.store(static_cast<uint32_t>(workers.size()), std::memory_order_relaxed);
    announce();
    compute(0);
    const auto finished = [&] { return pending.value.load(std::memory_order_acquire) == 0; };
    while (!spin_until(spin, finished)) {
      const uint32_t left = pending.value.load(std::memory_order_acquire);
      if (left != 0) pending.value.wait(left, std::memory_order_acquire);
    }
  }

  const bool spin;
  Line epoch;                                  // number of jobs announced
  Line pending;                                // workers that have not finished the current one
  alignas(64) std::atomic<int64_t> common{0};  // units taken from the common rest
  std::atomic<bool> stop{false};
  // The current job: written by run() before the epoch changes, read by workers after.
  const Split* split = nullptr;
  Body body = nullptr;
  void* context = nullptr;
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
  if (impl_->workers.empty() || n <= grain) {
    body(context, 0, n);
    return;
  }
  const Split split(n, grain, size());
  impl_->run(split, body, context);
}

}  // namespace farthing
