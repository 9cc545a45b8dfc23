#include "measure/observe_inputs.h"

#include <span>

#include "measure/perplexity.h"

namespace farthing {

Status observe_inputs(const Model& model,
                      const RunnerOptions& options,
                      const Windows& windows,
                      const InputObserver& observer,
                      const std::function<bool(int32_t n_done)>& progress) {
  RunnerOptions observed = options;
  observed.observer = &observer;
  FARTHING_TRY(WindowRunner runner, WindowRunner::create(model, observed, windows.size()));
  for (int32_t i = 0; i < windows.count(); ++i) {
    runner.run(windows, i, [](int32_t, std::span<float>, TokenId) {});
    if (!progress(i + 1)) return Error{ErrorKind::kInterrupted, ""};
  }
  return {};
}

}  // namespace farthing
