// The models of a ladder, one for each weight mode, and what each way to compute with them loses
// against float32.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/loaded_model.h"
#include "measure/ladder.h"

namespace farthing {

// Loads models as they are asked for; keeps them as long as there is memory for another as large.
struct LadderModels {
  std::string path;
  std::map<WeightMode, std::unique_ptr<LoadedModel>> loaded;

  // Valid until the next call.
  Result<const LoadedModel*> get(WeightMode mode);
};

// Whether most of the matrices' bytes are of types with at most 5 bits a weight.
bool is_four_bit(const LoadedModel& model);

struct LadderQuality {
  std::vector<TokenId> text;  // that the models are scored on
  LadderMachine machine;      // the same bits on every Isa, but for the order of float sums
  int64_t memory_limit = 0;
  double seconds = 0;  // to spend at most, about

  // Fills `out` for each of `wanted`; for none if the text is too short for one window.
  Status measure(LadderModels& models,
                 const std::vector<LadderNumbers>& wanted,
                 const std::function<bool()>& stop,
                 const std::function<void(const std::string&)>& progress,
                 std::map<LadderNumbers, Quality>& out) const;
};

}  // namespace farthing
