// Runs a model over windows of a text for what goes into its matrices.
#pragma once

#include <cstdint>
#include <functional>

#include "base/result.h"
#include "engine/runner.h"
#include "measure/windows.h"
#include "model/model.h"

namespace farthing {

// Takes from `options` what WindowRunner takes. `progress` is called after each window; false stops
// (kInterrupted).
Status observe_inputs(const Model& model,
                      const RunnerOptions& options,
                      const Windows& windows,
                      const InputObserver& observer,
                      const std::function<bool(int32_t n_done)>& progress);

}  // namespace farthing
