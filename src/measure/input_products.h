// What goes into a model's matrices, pair by pair: for each input that some of its layers' matrices
// read, the sums of x_i x_j over the tokens of a text. INT4 with error feedback asks for them
// (convert/int4.h). They are large (a square of a row's length), so they are made for as many
// layers at once as there is memory for, running the model over the text again for the next.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/matrix.h"
#include "base/result.h"
#include "engine/runner.h"
#include "measure/windows.h"
#include "model/model.h"

namespace farthing {

class InputProducts {
 public:
  // The model and the windows outlive this. From `options`: what WindowRunner takes. `memory`:
  // bytes that products may take; less than one layer's is taken as that. `progress` is called
  // after each window; false stops.
  InputProducts(const Model& model,
                const RunnerOptions& options,
                const Windows& windows,
                int64_t memory,
                std::function<bool(int32_t layer, int32_t n_done)> progress);

  // Of the matrix of this name ("blk.3.ffn_up.weight"), [cols][cols], symmetrical; valid until the
  // next call. Ask in the order of layers. kBadInput if no layer of the model has it; kInterrupted,
  // kNoResource; kRuntime if sums are no numbers.
  Result<Matrix<const float>> of(const std::string& tensor);

 private:
  struct Sums {
    int32_t layer = 0;
    int64_t cols = 0;
    std::vector<float> products;
    int64_t bytes() const { return cols * cols * static_cast<int64_t>(sizeof(float)); }
  };
  Status measure_from(int32_t layer);

  const Model& model_;
  RunnerOptions options_;
  const Windows& windows_;
  int64_t memory_;
  std::function<bool(int32_t layer, int32_t n_done)> progress_;
  std::map<const WeightMatrix*, Sums> sums_;              // of those that are the first of an input
  std::map<std::string, const WeightMatrix*> of_tensor_;  // which is that
};

// Adds x^T x of x[n_tokens][cols] to the upper triangle of sums[cols][cols]. A sum grows token by
// token: the same bits whatever the threads.
void add_products(Matrix<const float> x, ThreadTeam& team, Matrix<float> sums);

}  // namespace farthing
