#include "model/model.h"

#include <utility>

#include "base/cpu.h"
#include "model/registry.h"

namespace farthing {

std::vector<KVShape> kv_shapes(const ModelSpec& spec, KVTypes types) {
  std::vector<KVShape> shapes;
  for (int32_t i = 0; i < spec.n_layers(); ++i) {
    const AttentionSpec& attention = spec.attention(i);
    shapes.push_back({attention.n_kv_heads,
                      kv_k_plane(types.k, attention.head_dim).bytes,
                      kv_v_plane(types.v, attention.head_dim).bytes});
  }
  return shapes;
}

int64_t Model::n_parameters() const {
  int64_t n = 0;
  for (const TensorView& tensor : file.tensors) n += tensor.size();
  return n;
}

int64_t Model::tensor_bytes() const {
  int64_t n = 0;
  for (const TensorView& tensor : file.tensors) n += tensor.size_bytes();
  return n;
}

Result<std::unique_ptr<Model>> make_model(ModelFile file, WeightMode mode) {
  auto model = std::make_unique<Model>();
  FARTHING_TRY(model->spec, build_spec(file));
  FARTHING_TRY(model->weights, load_weights(model->spec, file, mode, cpu_budget().threads));
  model->weight_mode = mode;
  // An untied embedding points into the mapping, which doesn't move with the ModelFile.
  model->file = std::move(file);
  return model;
}

}  // namespace farthing
