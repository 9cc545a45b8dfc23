#include "measure/input_products.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/checked.h"
#include "base/cpu.h"
#include "base/utf8.h"
#include "measure/observe_inputs.h"

namespace farthing {

InputProducts::InputProducts(const Model& model,
                             const RunnerOptions& options,
                             const Windows& windows,
                             int64_t memory,
                             std::function<bool(int32_t layer, int32_t n_done)> progress)
    : model_(model),
      options_(options),
      windows_(windows),
      memory_(memory),
      progress_(std::move(progress)) {
  const std::vector<LayerWeights>& layers = model.weights.layers;
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerWeights& w = layers[i];
    const auto reads_one = [&](const WeightMatrix& first,
                               std::initializer_list<std::string_view> names) {
      sums_[&first] = {static_cast<int32_t>(i), first.cols, {}};
      for (const std::string_view name : names)
        of_tensor_[fmt::format("blk.{}.{}.weight", i, name)] = &first;
    };
    reads_one(w.q, {"attn_q", "attn_k", "attn_v"});
    reads_one(w.o, {"attn_output"});
    reads_one(w.gate, {"ffn_gate", "ffn_up"});
    reads_one(w.down, {"ffn_down"});
  }
}

Result<Matrix<const float>> InputProducts::of(const std::string& tensor) {
  const auto found = of_tensor_.find(tensor);
  if (found == of_tensor_.end())
    return bad_input("tensor '{}': the model has no use for it, so nothing is known of its inputs",
                     printable(tensor));
  Sums& sums = sums_.at(found->second);
  if (sums.products.empty()) FARTHING_TRY_VOID(measure_from(sums.layer));
  for (int64_t i = 0; i < sums.cols; ++i) {
    if (!std::isfinite(sums.products[static_cast<size_t>(i * sums.cols + i)]))
      return runtime_failure("the inputs of {} are no numbers: is the file damaged?", tensor);
  }
  return Matrix<const float>(sums.products.data(), sums.cols, sums.cols);
}

Status InputProducts::measure_from(int32_t layer) {
  int64_t left = memory_;
  int32_t end = layer;  // layers [layer, end) at once
  for (; end < static_cast<int32_t>(model_.weights.layers.size()); ++end) {
    for (const auto& [weight, sums] : sums_) {
      if (sums.layer == end) left -= sums.bytes();
    }
    if (left < 0 && end > layer) break;
  }
  for (auto& [weight, sums] : sums_) {
    sums.products = {};
    if (sums.layer >= layer && sums.layer < end)
      sums.products.resize(static_cast<size_t>(sums.cols * sums.cols));
  }
  ThreadTeam team(options_.n_threads > 0 ? options_.n_threads : cpu_budget().threads);
  const InputObserver observer = [&](const WeightMatrix& weight, Matrix<const float> input) {
    const auto found = sums_.find(&weight);
    if (found == sums_.end() || found->second.products.empty()) return;
    Sums& sums = found->second;
    add_products(input, team, {sums.products.data(), sums.cols, sums.cols});
  };
  FARTHING_TRY_VOID(observe_inputs(model_, options_, windows_, observer, [&](int32_t n_done) {
    return progress_(layer, n_done);
  }));
  for (auto& [weight, sums] : sums_) {
    if (sums.products.empty()) continue;
    for (int64_t i = 0; i < sums.cols; ++i) {
      for (int64_t j = 0; j < i; ++j)
        sums.products[static_cast<size_t>(i * sums.cols + j)] =
            sums.products[static_cast<size_t>(j * sums.cols + i)];
    }
  }
  return {};
}

void add_products(Matrix<const float> x, ThreadTeam& team, Matrix<float> sums) {
  CHECK(sums.rows == sums.cols && x.cols >= sums.cols);
  const int64_t n = sums.cols;
  constexpr int64_t kRows = 4;  // of sums at once: a row of x is read once for them
  team.parallel_for(ceil_div(n, kRows), 2, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t first = tile * kRows, last = std::min(first + kRows, n);
      for (int64_t t = 0; t < x.rows; ++t) {
        const float* const in = x.row(t);
        for (int64_t i = first; i < last; ++i) {
          const float by = in[i];
          float* const out = sums.row(i);
          for (int64_t j = i; j < n; ++j) out[j] += by * in[j];
        }
      }
    }
  });
}

}  // namespace farthing
