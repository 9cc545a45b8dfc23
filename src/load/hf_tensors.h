// From what safetensors files store to the tensors of a ModelFile: names and row orders of GGUF.
// Does not know: files, configs beyond what HfTensorRules states.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "load/hf_config.h"
#include "load/limits.h"
#include "load/safetensors.h"
#include "quant/tensor_view.h"

namespace farthing {

struct HfTensorRules {
  const HfFamily* family = nullptr;
  int64_t n_heads = 0;
  int64_t n_kv_heads = 0;
  bool tied = false;  // a stored lm_head is not used
};

// Adds a tensor for every stored one (and for every group of stored ones that make a quantised
// matrix). Tensors point into the files, or into `made`, which grows. kBadInput names the tensor.
Status bind_hf_tensors(const HfTensorRules& rules,
                       const std::vector<StoredTensor>& stored,
                       Allowance& allowance,
                       std::vector<TensorView>& out,
                       std::vector<std::vector<std::byte>>& made);

}  // namespace farthing
