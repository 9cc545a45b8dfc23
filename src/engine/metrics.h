// What the engine counts, as plain values: the engine's thread writes them, everybody else gets a
// copy as of the last step. Times are in seconds; the formulas stand beside the names.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/clock.h"
#include "core/event.h"
#include "kernels/kv_type.h"
#include "model/model_work.h"
#include "sched/scheduler.h"

namespace farthing {

// Observations counted by upper bound, Prometheus' kind: a bucket holds values <= its bound that
// exceed the bound before; the last one holds the rest.
template <size_t N>
struct Histogram {
  std::span<const double, N> bounds;  // ascending
  std::array<int64_t, N + 1> counts{};
  double sum = 0;

  void observe(double value) {
    ++counts[static_cast<size_t>(std::ranges::lower_bound(bounds, value) - bounds.begin())];
    sum += value;
  }
  int64_t count() const {
    int64_t n = 0;
    for (int64_t c : counts) n += c;
    return n;
  }
};

inline constexpr std::array kTimeBounds = {0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08,
                                           0.1,   0.15,  0.25,  0.5,  0.75, 1.0,  1.5,  2.5,  5.0,
                                           7.5,   10.0,  20.0,  40.0, 80.0, 160., 320., 640.};
inline constexpr std::array kTokenBounds = {
    1., 2., 4., 8., 16., 32., 64., 128., 256., 512., 1024., 2048., 4096., 8192.};
using TimeHistogram = Histogram<kTimeBounds.size()>;
using TokenHistogram = Histogram<kTokenBounds.size()>;

// The rate of the last seconds: an exponentially weighted sum of the work over its time constant.
struct RecentWork {
  static constexpr double kSeconds = 10;
  Work sum;
  TimePoint at{};

  void add(const Work& work, TimePoint now) {
    const double left = faded(now);
    sum = {.bytes = sum.bytes * left + work.bytes,
           .operations = sum.operations * left + work.operations};
    at = now;
  }
  Work per_second(TimePoint now) const {
    const double left = faded(now) / kSeconds;
    return {.bytes = sum.bytes * left, .operations = sum.operations * left};
  }

 private:
  double faded(TimePoint now) const {
    return std::exp(-std::max(0.0, seconds_between(at, now)) / kSeconds);
  }
};

struct EngineMetrics {
  int64_t requests_received = 0;
  std::array<int64_t, kFinishReasonCount> requests_finished{};
  int32_t requests_running = 0;  // of which something was computed
  int32_t requests_waiting = 0;
  int32_t sequences_running = 0;
  int32_t sequences_waiting = 0;
  Backlog backlog;

  TimeHistogram queue_time{kTimeBounds};           // submission to the first step, per request
  TimeHistogram time_to_first_token{kTimeBounds};  // from submission, per request
  TimeHistogram inter_token_latency{kTimeBounds};  // each gap between two tokens of a sample
  // (last token - first token) / (tokens - 1), per sample of at least two tokens.
  TimeHistogram time_per_output_token{kTimeBounds};
  TimeHistogram request_latency{kTimeBounds};  // submission to the end, per request
  // Of requests that had a token: first step to first token, first token to last.
  TimeHistogram prefill_time{kTimeBounds};
  TimeHistogram decode_time{kTimeBounds};
  TimeHistogram inference_time{kTimeBounds};               // both together
  TokenHistogram request_prompt_tokens{kTokenBounds};      // per request
  TokenHistogram request_completion_tokens{kTokenBounds};  // per request, all samples
  TokenHistogram request_longest_sample{kTokenBounds};     // tokens
  TokenHistogram request_n{kTokenBounds};                  // samples asked for
  TokenHistogram request_max_tokens{kTokenBounds};         // of each sample, asked for
  TimeHistogram step_time{kTimeBounds};
  TokenHistogram step_tokens{kTokenBounds};

  SchedulerCounts scheduler;
  int64_t generated_tokens = 0;
  DraftTimings drafts;  // of all requests; counted with a drafter only
  // Of requests cut short: tokens computed for them, and the busy time that took.
  std::array<int64_t, kFinishReasonCount> wasted_tokens{};
  std::array<double, kFinishReasonCount> wasted_busy_seconds{};

  int32_t kv_blocks_leased = 0;
  int32_t kv_blocks_leased_most = 0;  // in a step, so far
  int32_t kv_blocks_idle = 0;         // kept for prompts that begin alike
  int32_t kv_blocks_free = 0;
  KVTypes kv_type;
  bool prefix_cache = true;

  Work work;          // of all steps
  RecentWork recent;  // and of the last seconds

  double prompt_busy_seconds = 0;  // see Timings; over all requests, also those that still run
  double completion_busy_seconds = 0;

  // The rest of the time since the engine began is idle, and known up to `accounted_until`; what
  // comes after is idle too unless there is work, whose time counts once its step has ended.
  TimePoint began{};
  TimePoint accounted_until{};
  bool working = false;
  double idle_seconds_accounted = 0;
  // At `now`; never less than it was before.
  double idle_seconds(TimePoint now) const {
    const TimePoint until = working ? accounted_until : std::max(now, accounted_until);
    return idle_seconds_accounted + seconds_between(accounted_until, until);
  }
};

}  // namespace farthing
