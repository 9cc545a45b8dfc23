// What a load test found, by the formulas and under the names of `vllm bench serve`:
//   TTFT  first text - sent             TPOT  (last text - first text) / (output tokens - 1)
//   ITL   each gap between two pieces   E2EL  last text - sent
// Percentiles interpolate linearly between ranks, as NumPy's do by default.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "measure/load_client.h"

namespace farthing {

// Limits that an answer must keep to be a good one; milliseconds.
struct Slo {
  std::optional<double> ttft, tpot, e2el;
  std::optional<double> itl;  // its 99th percentile within the answer
};

struct LoadReportOptions {
  LoadTarget target;
  WorkloadOptions workload;
  Slo slo;
  std::string label;  // what the user calls this run
  std::vector<double> percentiles = {50, 90, 99};
  bool details = false;  // a list per request too
};

double percentile(std::vector<double> values, double percent);  // 0 for none

Json load_json(const LoadRun& run, const LoadReportOptions& options);
std::string load_table(const Json& report);

}  // namespace farthing
