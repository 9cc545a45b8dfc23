#include "measure/ladder_plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <limits>
#include <numeric>

#include "base/check.h"

namespace farthing {
namespace {

// Student's t at 97.5 %, for 1, 2, ... degrees of freedom; beyond, the normal distribution's.
double student_t(size_t freedom) {
  constexpr std::array kT = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
                             2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086};
  return freedom <= kT.size() ? kT[freedom - 1] : 1.96;
}

double seconds_of(std::span<const LadderRequest> all,
                  const LadderPace& pace,
                  bool kv_cache,
                  const LadderSlice& slice) {
  return pace.seconds(work_of(cut(all, slice), kv_cache));
}

}  // namespace

std::vector<LadderRequest> cut(std::span<const LadderRequest> all, const LadderSlice& slice) {
  std::vector<LadderRequest> requests;
  for (const LadderRequest& request : all.first(static_cast<size_t>(slice.n_requests)))
    requests.push_back(slice.lengths < 1 ? request.cut(slice.lengths) : request);
  return requests;
}

LadderWork work_of(const LadderRequest& request, bool kv_cache) {
  const auto n_prompt = static_cast<double>(request.prompt.size());
  const double n_steps = request.n_answer - 1;
  // Step i of them has the prompt and i tokens to compute.
  const double again = n_steps * n_prompt + n_steps * (n_steps + 1) / 2;
  return {.prompt = n_prompt, .answer = kv_cache ? n_steps : again};
}

LadderWork work_of(std::span<const LadderRequest> requests, bool kv_cache) {
  LadderWork sum;
  for (const LadderRequest& request : requests) {
    const LadderWork one = work_of(request, kv_cache);
    sum.prompt += one.prompt;
    sum.answer += one.answer;
  }
  return sum;
}

LadderSlice fit_slice(std::span<const LadderRequest> all,
                      const LadderPace& pace,
                      bool kv_cache,
                      int32_t least_requests,
                      double seconds) {
  const auto n_all = static_cast<int32_t>(all.size());
  const auto fits = [&](const LadderSlice& slice) {
    return seconds_of(all, pace, kv_cache, slice) <= seconds;
  };
  least_requests = std::clamp(least_requests, 1, n_all);
  for (int32_t n = n_all; n >= least_requests; --n) {
    if (fits({.n_requests = n})) return {.n_requests = n};
  }
  // Lengths fall by a quarter at a time down to where every part has its least tokens.
  LadderSlice slice{.n_requests = least_requests};
  while (slice.lengths > 0.01) {
    slice.lengths *= 0.75;
    if (fits(slice)) break;
  }
  return slice;
}

std::vector<double> share_out(std::span<const double> wanted, double total) {
  std::vector<size_t> order(wanted.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return wanted[i]; });
  std::vector<double> shares(wanted.size());
  size_t n_left = order.size();
  for (const size_t i : order) {
    shares[i] = std::min(wanted[i], std::max(total, 0.0) / static_cast<double>(n_left));
    total -= shares[i];
    --n_left;
  }
  return shares;
}

std::vector<ClientTime> serve_in_turn(std::span<const ServiceTime> services, int32_t n_clients) {
  CHECK(n_clients >= 1);
  std::vector<ClientTime> times;
  std::deque<double> arrivals(std::min(services.size(), static_cast<size_t>(n_clients)), 0.0);
  double now = 0;
  for (const ServiceTime& service : services) {
    const double arrived = arrivals.front();
    arrivals.pop_front();
    const double first = now + service.prompt;
    now = first + service.answer;
    times.push_back({.ttft = first - arrived, .e2e = now - arrived});
    arrivals.push_back(now);
  }
  return times;
}

Estimate mean_of(std::span<const double> values) {
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  const auto n = static_cast<double>(values.size());
  if (values.empty()) return {kUnknown, kUnknown, kUnknown};
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  if (values.size() == 1) return {mean, kUnknown, kUnknown};
  double squares = 0;
  for (const double x : values) squares += (x - mean) * (x - mean);
  const double half = student_t(values.size() - 1) * std::sqrt(squares / (n - 1) / n);
  return {mean, mean - half, mean + half};
}

Estimate ratio_of(std::span<const double> a, std::span<const double> b) {
  std::vector<double> logs;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) logs.push_back(std::log(a[i] / b[i]));
  const Estimate mean = mean_of(logs);
  return {std::exp(mean.value), std::exp(mean.low), std::exp(mean.high)};
}

bool agree(const Estimate& a, const Estimate& b) {
  return !(a.low > b.high) && !(b.low > a.high);
}

}  // namespace farthing
