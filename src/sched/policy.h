// Which waiting sequence is admitted next. A policy is a row: a name and a score, the lowest first.
// Whatever the policy, every fourth admission goes to who has waited longest (sched/scheduler.h):
// nobody starves.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace farthing {

enum class Policy : uint8_t {
  kFcfs,             // first come, first served
  kPriority,         // Request::priority, better by one for each second of waiting
  kLongestPrefix,    // most of its prompt stored already
  kShortestPrefill,  // least of its prompt left to compute
  kFairShare,        // the caller who was served least
  kDeadline,         // earliest deadline
};

// What a score may look at.
struct Waiting {
  double waited = 0;                     // seconds
  int32_t priority = 0;                  // lower is sooner, as in vLLM
  int32_t n_left = 0;                    // tokens to compute until the first new one
  int32_t n_stored = 0;                  // tokens of the prompt that the prefix cache holds
  double served = 0;                     // tokens of the same caller that were served so far
  std::optional<double> until_deadline;  // seconds
};

struct PolicyRow {
  Policy policy;
  std::string_view name;
  double (*score)(const Waiting&);
  bool needs_prefix = false;  // n_stored is looked up, which costs a walk through the prefix tree
  bool by_caller = false;     // an admission changes the order of the others
};

std::span<const PolicyRow> all_policies();
const PolicyRow& policy_row(Policy policy);

}  // namespace farthing
