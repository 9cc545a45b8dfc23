// How bench results are shown: JSON with llama-bench's field names, or a table. Does not know: how
// they were measured.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "kernels/isa.h"
#include "measure/bench.h"
#include "measure/bench_work.h"
#include "measure/machine.h"

namespace farthing {

// What all tests of one model have in common.
struct BenchedModel {
  std::string filename;
  std::string type;  // "llama 135M Q4_1"
  int64_t size = 0;  // bytes of all tensors
  int64_t n_params = 0;
  int32_t n_threads = 0;
  int32_t chunk = 0;
  KVTypes kv_type;
  bool flash_attention = true;
  int64_t kv_bytes = 0;
  int64_t workspace_bytes = 0;
};

struct BenchRow {
  BenchSamples samples;
  Work work;
  // Of the threads used, before each repetition and after the last: a repetition is held against
  // the mean of its neighbours, a row against the median of its repetitions.
  std::vector<MachineSpeed::Rates> roofs;
};

struct BenchResult {
  BenchedModel model;
  std::vector<BenchRow> rows;
};

// The machine, measured before and after all tests.
struct BenchMachine {
  Isa isa = Isa::kRef;
  MachineSpeed before;
  MachineSpeed after;

  MachineSpeed best() const;
};

// Mean, and standard deviation of the samples (0 for one), of tokens per second over all sequences.
struct Spread {
  double mean = 0;
  double deviation = 0;
};
Spread tokens_per_second(const BenchSamples& samples);

// {"schema": 1, "machine": {...}, "results": [a row per test]}
Json bench_json(const BenchMachine& machine,
                const std::vector<BenchResult>& results,
                std::string_view commit);

std::string bench_table(const BenchMachine& machine, const std::vector<BenchResult>& results);

}  // namespace farthing
