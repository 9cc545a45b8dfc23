// Model: a spec and its weights, read-only after loading. Owns the mapped file that the weights
// point into.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "cache/kv_store.h"
#include "kernels/kv_type.h"
#include "load/model_file.h"
#include "model/spec.h"
#include "model/weights.h"

namespace farthing {

std::vector<KVShape> kv_shapes(const ModelSpec& spec, KVTypes types);  // one per layer

struct Model {
  ModelFile file;
  ModelSpec spec;
  Weights weights;
  WeightMode weight_mode = WeightMode::kNative;  // that they were made with
  std::vector<KVShape> kv_shapes(KVTypes types) const { return farthing::kv_shapes(spec, types); }
  int64_t n_parameters() const;  // values in all tensors of the file
  int64_t tensor_bytes() const;
};

Result<std::unique_ptr<Model>> make_model(ModelFile file, WeightMode mode);

}  // namespace farthing
