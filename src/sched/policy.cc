#include "sched/policy.h"

#include <array>
#include <limits>

namespace farthing {
namespace {

double arrival(const Waiting& c) {
  return -c.waited;
}
double priority(const Waiting& c) {
  return c.priority - c.waited;
}
double longest_prefix(const Waiting& c) {
  return -c.n_stored;
}
double shortest_prefill(const Waiting& c) {
  return c.n_left - c.n_stored;
}
double fair_share(const Waiting& c) {
  return c.served;
}
double deadline(const Waiting& c) {
  return c.until_deadline.value_or(std::numeric_limits<double>::infinity());
}

constexpr std::array kRows = {
    PolicyRow{Policy::kFcfs, "fcfs", arrival},
    PolicyRow{Policy::kPriority, "priority", priority},
    PolicyRow{Policy::kLongestPrefix, "longest-prefix", longest_prefix, true},
    PolicyRow{Policy::kShortestPrefill, "shortest-prefill", shortest_prefill, true},
    PolicyRow{Policy::kFairShare, "fair-share", fair_share, false, true},
    PolicyRow{Policy::kDeadline, "deadline", deadline},
};

}  // namespace

std::span<const PolicyRow> all_policies() {
  return kRows;
}

const PolicyRow& policy_row(Policy policy) {
  return kRows[static_cast<size_t>(policy)];
}

}  // namespace farthing
