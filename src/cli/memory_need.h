// How much memory a model file asks for, from its metadata alone: no support for its architecture
// is needed.
#pragma once

#include <cstdint>
#include <optional>

#include "load/model_file.h"

namespace farthing {

struct MemoryNeed {
  int64_t weights = 0;     // bytes of all tensors
  int64_t parameters = 0;  // values of all tensors
  std::optional<int64_t>
      kv_per_token;  // bytes of keys and values of all layers, F16; absent if the keys don't say
  std::optional<int64_t> context_length;  // tokens the model was trained for
  // An upper bound: layers with a sliding window keep less.
  std::optional<int64_t> kv_full_context;
};

MemoryNeed memory_need(const ModelFile& file);

}  // namespace farthing
