// How a ladder spends its time: how much of the workload each setting runs, what that says of the
// whole, and intervals over repeats. Pure: no engine, no clock.
//
// A slow setting runs a slice: fewer requests, then shorter ones. Its seconds are scaled by work:
// tokens computed of prompts, and of answers. Without a KV cache each token of an answer computes
// all before it again. Attention's own work, which grows with the square of lengths, is left out,
// so that what is scaled from shorter requests comes out cheaper than it is, never dearer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "measure/ladder_workload.h"
#include "measure/quality.h"

namespace farthing {

struct LadderSlice {
  int32_t n_requests = 1;  // the first of the workload
  double lengths = 1;      // of each, as LadderRequest::cut

  bool whole(std::span<const LadderRequest> all) const {
    return n_requests == static_cast<int32_t>(all.size()) && lengths == 1;
  }
  friend bool operator==(const LadderSlice&, const LadderSlice&) = default;
};
std::vector<LadderRequest> cut(std::span<const LadderRequest> all, const LadderSlice& slice);

// Tokens that are computed; the first token of an answer comes out of its prompt.
struct LadderWork {
  double prompt = 0;
  double answer = 0;
};
LadderWork work_of(const LadderRequest& request, bool kv_cache);
LadderWork work_of(std::span<const LadderRequest> requests, bool kv_cache);

// Seconds for each token of LadderWork.
struct LadderPace {
  double prompt = 0;
  double answer = 0;

  double seconds(const LadderWork& work) const {
    return prompt * work.prompt + answer * work.answer;
  }
};

// The largest slice that takes at most so many seconds: whole requests if at least `least_requests`
// fit, else so many that are cut to equal parts; if nothing fits, the smallest there is.
LadderSlice fit_slice(std::span<const LadderRequest> all,
                      const LadderPace& pace,
                      bool kv_cache,
                      int32_t least_requests,
                      double seconds);

// Divides `total` among those that want so much: nobody gets more than it wants, and those that get
// less get equal parts.
std::vector<double> share_out(std::span<const double> wanted, double total);

// One request after the other, of clients that each send the next one when they have their answer:
// what each waits, given what serving it takes alone.
struct ServiceTime {
  double prompt = 0;  // seconds to the first token
  double answer = 0;  // and from there to the last
};
struct ClientTime {
  double ttft = 0;  // seconds
  double e2e = 0;
};
std::vector<ClientTime> serve_in_turn(std::span<const ServiceTime> services, int32_t n_clients);

// The mean and its interval of 95 % by Student's t; not numbers where one value leaves it unknown.
Estimate mean_of(std::span<const double> values);
// The geometric mean of ratios a[i] / b[i] of pairs, with its interval; all > 0.
Estimate ratio_of(std::span<const double> a, std::span<const double> b);
// Whether two intervals have a point in common; true if one is unknown.
bool agree(const Estimate& a, const Estimate& b);

}  // namespace farthing
