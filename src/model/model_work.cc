#include "model/model_work.h"

#include <algorithm>

namespace farthing {

ModelWork::ModelWork(const Model& model, KVTypes kv_types) {
  const TensorView* head = model.file.find("output.weight");
  const TensorView* embedding = model.file.find("token_embd.weight");
  if (head == nullptr) head = embedding;  // tied
  for (const TensorView& tensor : model.file.tensors) {
    if (tensor.n_dims < 2 || (&tensor == embedding && head != embedding)) continue;
    const auto weights = static_cast<double>(tensor.size());
    const Format& format = format_of(type_in_memory(tensor, model.weight_mode));
    const double bytes = weights / static_cast<double>(format.qblock_values) *
                         static_cast<double>(format.qblock_bytes);
    (&tensor == head ? head_bytes_ : layer_bytes_) += bytes;
    (&tensor == head ? head_weights_ : layer_weights_) += weights;
  }
  const std::vector<KVShape> shapes = model.kv_shapes(kv_types);
  for (int32_t i = 0; i < model.spec.n_layers(); ++i) {
    const int32_t window = model.spec.attention(i).window;
    auto group = std::ranges::find(kv_, window, &KVGroup::window);
    if (group == kv_.end()) group = kv_.insert(kv_.end(), {.window = window});
    group->bytes_per_position +=
        static_cast<double>(shapes[static_cast<size_t>(i)].block_bytes()) / kKVBlockTokens;
  }
}

Work ModelWork::of_weights(int32_t n_tokens, int32_t n_logits) const {
  return {.bytes = layer_bytes_ + (n_logits > 0 ? head_bytes_ : 0),
          .operations = 2 * (layer_weights_ * n_tokens + head_weights_ * n_logits)};
}

Work ModelWork::of_kv(int32_t end, int32_t n_queries) const {
  Work work;
  for (const KVGroup& group : kv_) {
    // The first query sees `window` positions, itself included.
    const int32_t seen = group.window > 0 ? std::min(end, group.window - 1 + n_queries) : end;
    work.bytes += group.bytes_per_position * seen;
  }
  return work;
}

Work ModelWork::of(const Batch& batch) const {
  Work work = of_weights(batch.n_tokens(), batch.n_logits());
  for (const Slice& slice : batch.slices) work += of_kv(slice.first + slice.count, slice.count);
  return work;
}

}  // namespace farthing
