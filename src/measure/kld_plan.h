// Chooses a type per tensor so that a model loses at most a given KL divergence, at the fewest
// bytes. Tensors of one kind in one quarter of the layers share a type (a group). How much a group
// matters is measured once: the divergence of the model with this group alone at its smallest type.
// That of other types follows, as divergence grows with the square of the error, and the divergence
// of a choice is the sum of its groups'. Then the choice is measured as a whole, and the sum
// corrected by what came out, until it fits.
// Everything here is computed with weights in f32 and so activations in f32: what int8 activations
// add is the engine's, not the file's (docs/quality.md).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "convert/quantize.h"
#include "engine/runner.h"
#include "load/model_file.h"
#include "measure/windows.h"
#include "quant/format.h"

namespace farthing {

struct KldGroup {
  std::string name;             // "ffn_down.weight, layers 0 to 7"
  std::vector<size_t> tensors;  // indices in the file
  struct Option {
    DType type;
    int64_t bytes;
    double error;  // squared, relative, weighed by importance: that of values
  };
  std::vector<Option> options;  // more bytes, less error
  double sensitivity = 0;       // divergence per error
};

// Which option each group takes: the cheapest way, step by step, to bring the sum of sensitivity
// times error, times `correction`, to `target`. nullopt if even the dearest options don't.
std::optional<std::vector<size_t>> choose_options(const std::vector<KldGroup>& groups,
                                                  double target,
                                                  double correction);

struct KldPlan {
  QuantizePlan plan;
  double kld = 0;  // measured, with f32 activations
  std::vector<KldGroup> groups;
  std::vector<size_t> chosen;  // an option of each
};

struct KldPlanOptions {
  double target = 0;  // nats per token
  RunnerOptions runner;
  // Called before each step; false stops (kInterrupted).
  std::function<bool(std::string_view what, int32_t n_done, int32_t n_all)> progress;
};

// kUnreachable if no choice loses so little; kNoResource if the model doesn't fit in f32.
Result<KldPlan> plan_for_kld(const ModelFile& file,
                             const ImportanceMatrix* importance,
                             const Windows& windows,
                             const KldPlanOptions& options);

}  // namespace farthing
