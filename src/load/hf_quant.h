// Quantised matrices of a Hugging Face folder, bit for bit, as rows of our own types: FP8 (e4m3
// with a scale per tensor, row or block), INT8 (per tensor or row), INT4 in groups as GPTQ, AWQ and
// compressed-tensors pack it. What a type of ours can't hold exactly becomes F32 rows: groups in
// the order of activations (GPTQ's g_idx), groups that aren't a multiple of 32, scales that are no
// f16. Sources of layouts: AutoGPTQ's and AutoAWQ's packing, compressed-tensors' pack_to_int32, the
// FP8 checkpoints of DeepSeek and Qwen; the goldens are a numpy script's (tests/golden/folder).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "load/metadata.h"
#include "load/safetensors.h"
#include "quant/tensor_view.h"

namespace farthing {

// quantization_config of config.json, as far as the tensors don't show it themselves.
struct HfQuantisation {
  std::string method;          // "gptq", "awq", "fp8", "compressed-tensors"; empty: none
  bool zeros_less_one = true;  // GPTQ v1 stores zero points minus one
  int64_t block_rows = 128, block_cols = 128;  // of FP8 scales
};
Result<HfQuantisation> read_quantisation(const Metadata& config);

// Which stored row is row r. Heads of an even number of rows are interleaved (load/hf_config.h).
struct RowOrder {
  int64_t per_head = 0;  // 0: as stored

  int64_t source(int64_t r) const {
    if (per_head == 0) return r;
    const int64_t in_head = r % per_head;
    return r - in_head + in_head % 2 * (per_head / 2) + in_head / 2;
  }
};

// The stored tensors of one module, by the last part of their names.
class HfParts {
 public:
  void add(std::string_view kind, const StoredTensor& tensor) {
    parts_.emplace_back(kind, &tensor);
  }
  const StoredTensor* find(std::string_view kind) const {
    for (const auto& [name, tensor] : parts_) {
      if (name == kind) return tensor;
    }
    return nullptr;
  }
  std::span<const std::pair<std::string_view, const StoredTensor*>> all() const { return parts_; }

 private:
  std::vector<std::pair<std::string_view, const StoredTensor*>> parts_;
};

struct HfMatrix {
  DType type = DType::kF32;
  int64_t rows = 0, cols = 0;
  std::span<const std::byte> bytes;  // of the tensor that holds the values
  MakeRows make_rows;
};

// Whether the module's matrix is one of these, not a plain `weight`.
bool is_quantised(const HfParts& parts);
// heads > 0: rows are of so many heads, and are interleaved. kBadInput says what is wrong with
// which part.
Result<HfMatrix> read_quantised(const HfParts& parts, const HfQuantisation& how, int64_t heads);

}  // namespace farthing
