#include "measure/bench_cost.h"

#include <algorithm>

namespace farthing {

ModelCost::ModelCost(const Model& model, WeightMode mode, KVType kv_type) {
  const TensorView* head = model.file.find("output.weight");
  const TensorView* embedding = model.file.find("token_embd.weight");
  if (head == nullptr) head = embedding;  // tied
  for (const TensorView& tensor : model.file.tensors) {
    if (tensor.n_dims < 2 || (&tensor == embedding && head != embedding)) continue;
    const auto weights = static_cast<double>(tensor.size());
    const Format& format = format_of(type_in_memory(tensor, mode));
    const double bytes = weights / static_cast<double>(format.qblock_values) *
                         static_cast<double>(format.qblock_bytes);
    (&tensor == head ? head_bytes_ : layer_bytes_) += bytes;
    (&tensor == head ? head_weights_ : layer_weights_) += weights;
  }
  const std::vector<KVShape> shapes = model.kv_shapes(kv_type);
  for (int32_t i = 0; i < model.spec.n_layers(); ++i) {
    const auto block_bytes = static_cast<double>(shapes[static_cast<size_t>(i)].block_bytes());
    layers_.push_back({.bytes_per_position = block_bytes / kKVBlockTokens,
                       .window = model.spec.attention(i).window});
  }
}

double ModelCost::kv_bytes(int32_t end, int32_t n_queries) const {
  double bytes = 0;
  for (const LayerKV& layer : layers_) {
    // The first query sees `window` positions, itself included.
    const int32_t seen = layer.window > 0 ? std::min(end, layer.window - 1 + n_queries) : end;
    bytes += layer.bytes_per_position * seen;
  }
  return bytes;
}

BenchCost ModelCost::of(const BenchTest& test, int32_t chunk) const {
  BenchCost cost;
  for (int32_t done = 0; done < test.n_prompt;) {
    const int32_t count = std::min(chunk, test.n_prompt - done);
    done += count;
    cost.bytes += layer_bytes_ + kv_bytes(test.n_depth + done, count);
    cost.operations += 2 * layer_weights_ * count;
  }
  if (test.n_prompt > 0) {
    cost.bytes += head_bytes_;
    cost.operations += 2 * head_weights_;
  }
  for (int32_t step = 1; step <= test.n_gen; ++step) {
    cost.bytes += layer_bytes_ + head_bytes_ + test.n_sequences * kv_bytes(test.n_depth + step, 1);
    cost.operations += 2 * (layer_weights_ + head_weights_) * test.n_sequences;
  }
  return cost;
}

}  // namespace farthing
