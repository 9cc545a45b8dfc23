// One setting of the engine runs a slice of a workload. Owns: nothing that stays. Does not know:
// rungs, budgets, prices.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/energy_meter.h"
#include "base/result.h"
#include "measure/ladder_plan.h"
#include "measure/ladder_rungs.h"

namespace farthing {

// What was seen, in seconds of the whole workload: of a slice, scaled by work (ladder_plan.h).
struct LadderSample {
  bool scaled = false;
  double spent = 0;  // seconds that the run itself took, the engine's start included

  double wall = 0;         // from the first request to the last answer
  double prompt_busy = 0;  // of that, computing prompts
  double answer_busy = 0;  // and the tokens of answers after the first
  double ttft_p50 = 0, ttft_p99 = 0;
  double tpot_p50 = 0, tpot_p99 = 0;
  double itl_p99 = 0;     // longest pauses within answers
  double within_slo = 0;  // share of answers that kept the workload's limits
  double joules = 0;      // by the processor's counters; 0: they can't be read

  // Not scaled.
  int64_t memory = 0;      // bytes: weights, workspace, drafter, and KV in use at most
  int64_t kv_memory = 0;   // of those, KV
  double bytes_per_s = 0;  // read at least, and operations done at least, by busy second
  double operations_per_s = 0;
  double cached_share = 0;  // of the prompts' tokens
  double drafted = 0, accepted = 0;
  LadderPace pace;
  std::vector<std::vector<TokenId>> answers;
};

struct LadderRun {
  std::span<const LadderRequest> all;
  LadderSlice slice;
  int32_t n_clients = 1;
  float temperature = 0;
  double slo_ttft = 0, slo_tpot = 0;  // seconds; 0: none
};

// The setting's weights are the model's. kInterrupted as soon as `stop` says so.
Result<LadderSample> run_ladder_setting(const LoadedModel& model,
                                        const LadderSetting& setting,
                                        const LadderRun& run,
                                        EnergyMeter* meter,
                                        const std::function<bool()>& stop);

}  // namespace farthing
