// Makes an importance matrix with our own engine: runs a model over windows of a text and sums the
// squares of what goes into each of its matrices.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "convert/importance.h"
#include "engine/runner.h"
#include "measure/windows.h"
#include "model/model.h"

namespace farthing {

// Owns: the sums. Sums of a column grow token by token, in double: they are the same bits whatever
// the steps and threads.
class InputSquares {
 public:
  explicit InputSquares(const Model& model);  // which outlives this

  void add(const WeightMatrix& weight, Matrix<const float> input);

  // kRuntime, with the tensor, if a sum is no number.
  Result<ImportanceMatrix> matrix() const;

 private:
  struct Sums {
    std::string tensor;
    std::vector<double> squares;
    int64_t n_tokens = 0;
  };
  std::vector<Sums> sums_;
  std::unordered_map<const WeightMatrix*, size_t> index_;
};

// As observe_inputs().
Result<ImportanceMatrix> measure_importance(const Model& model,
                                            const RunnerOptions& options,
                                            const Windows& windows,
                                            const std::function<bool(int32_t n_done)>& progress);

}  // namespace farthing
