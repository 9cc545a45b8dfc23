// What a forward pass must read and compute at least, from the model's shapes alone: the numerators
// of "how much of the machine was used". Does not know: how kernels lay weights out.
// Counted: every weight matrix once per pass (of the embedding only the head, where it is one), K
// and V of every visible position once per sequence and pass; 2 operations per weight and token of
// the matrix products (the head: per position with logits). Not counted: attention's own
// arithmetic, activations, norms.
#pragma once

#include <cstdint>
#include <vector>

#include "core/batch.h"
#include "model/model.h"

namespace farthing {

struct Work {
  double bytes = 0;       // read from memory
  double operations = 0;  // multiplications and additions

  Work& operator+=(const Work& other) {
    bytes += other.bytes;
    operations += other.operations;
    return *this;
  }
};

class ModelWork {
 public:
  ModelWork() = default;  // of nothing
  ModelWork(const Model& model, KVTypes kv_types);

  // The matrices, for so many tokens, n_logits of which get logits.
  Work of_weights(int32_t n_tokens, int32_t n_logits) const;
  // K and V for `n_queries` consecutive tokens of a sequence, the last of them at position end - 1.
  Work of_kv(int32_t end, int32_t n_queries) const;
  Work of(const Batch& batch) const;

 private:
  // Layers that see equally far.
  struct KVGroup {
    int32_t window = 0;  // 0: all
    double bytes_per_position = 0;
  };

  double layer_bytes_ = 0;
  double head_bytes_ = 0;
  double layer_weights_ = 0;
  double head_weights_ = 0;
  std::vector<KVGroup> kv_;
};

}  // namespace farthing
