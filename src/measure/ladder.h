// The ladder: what each optimisation is worth on this machine, with this model. Runs a workload
// with rungs switched on, round after round over all settings, so that a machine that gets slower
// or faster meanwhile shows in the intervals and not in the comparisons. Owns: the models of each
// weight mode while it runs. Does not know: prices, how results are shown.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/result.h"
#include "measure/ladder_plan.h"
#include "measure/ladder_run.h"
#include "measure/ladder_rungs.h"
#include "measure/ladder_workload.h"
#include "measure/machine.h"
#include "measure/quality.h"

namespace farthing {

struct LadderOptions {
  std::string model;  // path
  const LadderWorkload* workload = nullptr;
  uint64_t seed = 1;
  double budget = 600;   // seconds, for everything
  int32_t rounds = 5;    // at most
  EngineOptions engine;  // n_threads, isa, context and memory_limit: how far the rungs go
  std::string resume;    // file that keeps what was measured; empty: none
};

// What the loss of a setting depends on. The other rungs change no answer (tests say so), and an
// instruction set only the last bits.
struct LadderNumbers {
  WeightMode weights = WeightMode::kF32;
  KVTypes kv_type;
  AttentionMode attention = AttentionMode::kNaive;

  friend auto operator<=>(const LadderNumbers&, const LadderNumbers&) = default;
};
LadderNumbers numbers_of(const LadderSetting& setting);

struct LadderMeasured {
  LadderSlice slice;
  std::vector<LadderSample> samples;  // of each round
};

struct LadderResult {
  const LadderWorkload* workload = nullptr;
  uint64_t seed = 1;
  double shrunk = 1;  // see LadderRequests
  LadderWork tokens;  // of the whole workload: of prompts, and of answers (all of them)
  std::string model;  // its name
  std::string description;
  std::string note;  // on its weights, see measure/weights_note.h
  LadderMachine machine;
  LadderService service;
  MachineSpeed best;            // of the best kernels
  double plain_gflops_one = 0;  // f32, of plain loops on one thread
  double plain_gflops_all = 0;
  std::vector<LadderRow> rows;
  std::vector<std::pair<size_t, std::string>> missing;  // rungs that can't be had here, and why
  std::map<RungSet, LadderMeasured> measured;
  std::map<LadderNumbers, Quality> quality;
  std::map<KVTypes, double> kv_bytes_per_token;
  std::map<WeightMode, int64_t> weight_bytes;
  int32_t n_rounds = 0;  // that all settings ran in
  double seconds = 0;    // that the ladder took, those that it was resumed from included
  bool interrupted = false;
  bool out_of_time = false;  // before every round was done

  // Null if there is nothing of it.
  const LadderMeasured* of(RungSet rungs) const;
};

struct LadderWatch {
  // What it does, and about how many seconds are left; called often.
  std::function<void(const std::string& what, double seconds_left)> progress;
  std::function<bool()> stop;  // whether to end and keep what there is
};

// kUsage for a workload that the model can't run; kBadInput for a --resume file of another ladder.
Result<LadderResult> run_ladder(const LadderOptions& options, const LadderWatch& watch);

}  // namespace farthing
