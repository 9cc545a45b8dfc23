// What a bench test must read and compute at least, from the model's shapes alone: the numerators
// of "how much of the machine was used". Does not know: how kernels lay weights out.
// Counted: every weight matrix once per forward pass (of the embedding only the head, where it is
// one), K and V of every visible position once per sequence and pass; 2 operations per weight and
// token of the matrix products (the head: per position with logits). Not counted: attention's own
// arithmetic, activations, norms.
#pragma once

#include <cstdint>
#include <vector>

#include "measure/bench.h"
#include "model/model.h"

namespace farthing {

struct BenchCost {
  double bytes = 0;       // read from memory
  double operations = 0;  // multiplications and additions
};

class ModelCost {
 public:
  ModelCost(const Model& model, WeightMode mode, KVType kv_type);

  BenchCost of(const BenchTest& test, int32_t chunk) const;

 private:
  struct LayerKV {
    double bytes_per_position = 0;
    int32_t window = 0;  // 0: all
  };
  // `n_queries` consecutive tokens, the last of them at position end - 1.
  double kv_bytes(int32_t end, int32_t n_queries) const;

  double layer_bytes_ = 0;
  double head_bytes_ = 0;
  double layer_weights_ = 0;
  double head_weights_ = 0;
  std::vector<LayerKV> layers_;
};

}  // namespace farthing
