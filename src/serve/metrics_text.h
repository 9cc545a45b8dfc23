// The server's metrics in Prometheus' text format (version 0.0.4).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "core/progress.h"
#include "econ/ledger.h"
#include "engine/metrics.h"

namespace farthing {

struct MetricsView {
  EngineMetrics engine;
  Progress progress;
  TimePoint now;
  std::map<int, int64_t> answers;  // HTTP, by status
  std::optional<Ledger> ledger;    // if the machine has a price
  std::optional<Work> peak;        // of the machine, a second
  std::optional<double> joules;    // by the processors' own counters
  std::string model;
  bool vllm_names = false;  // the same under vLLM's names too
};

std::string metrics_text(const MetricsView& view);

}  // namespace farthing
