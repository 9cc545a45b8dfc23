#include "measure/input_squares.h"

#include <cmath>
#include <utility>

#include "base/check.h"
#include "measure/observe_inputs.h"

namespace farthing {

InputSquares::InputSquares(const Model& model) {
  each_matrix(model.weights, [&](const std::string& tensor, const WeightMatrix& weight) {
    index_.emplace(&weight, sums_.size());
    sums_.push_back({tensor, std::vector<double>(static_cast<size_t>(weight.cols)), 0});
  });
}

void InputSquares::add(const WeightMatrix& weight, Matrix<const float> input) {
  const auto found = index_.find(&weight);
  CHECK(found != index_.end());
  Sums& sums = sums_[found->second];
  for (int64_t t = 0; t < input.rows; ++t) {
    const float* const x = input.row(t);
    for (size_t c = 0; c < sums.squares.size(); ++c) sums.squares[c] += double{x[c]} * x[c];
  }
  sums.n_tokens += input.rows;
}

Result<ImportanceMatrix> InputSquares::matrix() const {
  ImportanceMatrix out;
  for (const Sums& sums : sums_) {
    if (sums.n_tokens == 0) continue;
    Importance& importance = out.tensors[sums.tensor];
    importance.counts = {static_cast<float>(sums.n_tokens)};
    for (const double square : sums.squares) {
      importance.sums.push_back(static_cast<float>(square));
      if (!std::isfinite(importance.sums.back()))
        return runtime_failure("the inputs of {} are no numbers: is the file damaged?",
                               sums.tensor);
    }
  }
  return out;
}

Result<ImportanceMatrix> measure_importance(const Model& model,
                                            const RunnerOptions& options,
                                            const Windows& windows,
                                            const std::function<bool(int32_t n_done)>& progress) {
  InputSquares squares(model);
  const InputObserver observer = [&](const WeightMatrix& weight, Matrix<const float> input) {
    squares.add(weight, input);
  };
  FARTHING_TRY_VOID(observe_inputs(model, options, windows, observer, progress));
  FARTHING_TRY(ImportanceMatrix matrix, squares.matrix());
  matrix.chunks = static_cast<uint32_t>(windows.count());
  matrix.chunk_size = static_cast<uint32_t>(windows.size());
  return matrix;
}

}  // namespace farthing
