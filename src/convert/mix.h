// Mixes: which type each tensor of a model is written in. Plain ones take one type for all
// matrices; the K mixes give more bits where it pays: to the output, and in some layers to the
// values of attention and the ffn's way down. The rules are llama-quantize's (llama.cpp,
// src/llama-quant.cpp) for models without experts, so that files of one name are the same size;
// llama.cpp's numbers too.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "load/model_file.h"
#include "quant/format.h"

namespace farthing {

struct Mix {
  enum class Extra : uint8_t { kNone, kSmall, kMedium };  // "_S", "_M"

  std::string_view name;  // "Q4_K_M"
  DType type;             // of most matrices
  uint32_t file_type;     // general.file_type
  Extra extra = Extra::kNone;
};
std::span<const Mix> all_mixes();
const Mix* mix_from_name(std::string_view name);  // in any case; nullptr if there is none

// What a tensor does, as far as types depend on it.
enum class TensorRole : uint8_t { kKept, kHead, kEmbedding, kAttentionV, kFfnDown, kMatrix };

// kKept: vectors, norms, and small tables that stay as they are. `tied`: the embedding is the head.
TensorRole role_of(const TensorView& tensor, bool tied);

// The type that rows of so many values can be written in: `type`, or the next best.
DType type_for_rows(DType type, int64_t cols);

// One type per tensor of the file, in its order. `weighted`: with an importance matrix.
std::vector<DType> types_of(const Mix& mix, const ModelFile& file, bool weighted);

}  // namespace farthing
