// How much memory a model file asks for: what can be said from its metadata alone, and what
// `farthing run` with its defaults takes at most, if it is a model we can run.
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "load/model_file.h"

namespace farthing {

// Bytes, and what they were reckoned for.
struct RunMemory {
  int32_t context = 0;  // tokens, of one sequence
  int32_t n_threads = 0;
  int64_t weights = 0;  // matrices as tiles, vectors as f32, an embedding that stays in the file
  int64_t kv_per_token = 0;
  int64_t kv = 0;  // comes in as it is used
  int64_t workspace = 0;
  int64_t vocabulary = 0;  // texts of tokens and merges, and the metadata's pages of the file
  int64_t tokenizer = 0;   // made from it
  bool tokenizer_measured = false;  // by making it once; else a bound from the vocabulary's sizes
  int64_t program = 0;              // its code and libraries, as far as they are mapped

  int64_t total() const { return weights + kv + workspace + vocabulary + tokenizer + program; }
};

struct MemoryNeed {
  int64_t weights = 0;     // bytes of all tensors
  int64_t parameters = 0;  // values of all tensors
  std::optional<int64_t>
      kv_per_token;  // bytes of keys and values of all layers, F16; absent if the keys don't say
  std::optional<int64_t> context_length;  // tokens the model was trained for
  // An upper bound: layers with a sliding window keep less.
  std::optional<int64_t> kv_full_context;
  Result<RunMemory> run;  // or why it can't be told
};

MemoryNeed memory_need(const ModelFile& file);

}  // namespace farthing
