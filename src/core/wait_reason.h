// Why a waiting sequence wasn't admitted.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace farthing {

enum class WaitReason : uint8_t {
  kNone,
  kSlots,   // as many sequences run as may
  kBlocks,  // no room in the KV pool
  kPrefix,  // a running sequence is computing what this one begins with
  kBatch,   // batching isn't continuous
  kTurn,    // another one goes first
  kStep,    // it came while a step was computed
  kItl,     // its prompt would keep running sequences waiting for longer than the target
  kBudget,  // others have the tokens of the step
};
inline constexpr size_t kWaitReasonCount = 9;

constexpr std::string_view wait_reason_name(WaitReason reason) {
  constexpr std::string_view kNames[] = {
      "none", "slots", "kv_full", "prefix", "batch", "turn", "step", "itl", "budget"};
  return kNames[static_cast<size_t>(reason)];
}

// By reason.
using WaitSeconds = std::array<double, kWaitReasonCount>;

}  // namespace farthing
