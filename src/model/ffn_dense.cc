#include "model/ffn_dense.h"

#include <array>

namespace farthing {

void dense_ffn(const Exec& exec,
               const ModelSpec& spec,
               const DenseFfnSpec& ffn,
               const LayerWeights& weights,
               Workspace& ws) {
  const int64_t n_tokens = static_cast<int64_t>(ws.rows.size());
  const std::array gate_up{Projection{&weights.gate, weights.gate_bias, ws.gate},
                           Projection{&weights.up, weights.up_bias, ws.up}};
  ws.linear.apply(
      exec, Matrix<const float>(ws.normed.data, n_tokens, spec.d_model, ws.normed.stride), gate_up);

  const bool gelu = ffn.activation == DenseFfnSpec::Activation::kGelu;
  const auto gated = gelu ? exec.kernels->gelu_mul : exec.kernels->silu_mul;
  exec.team->parallel_for(n_tokens, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      gated(ws.gate.row(t), ws.up.row(t), ffn.d_ff, ws.gate.row(t));
  });

  const std::array down{Projection{&weights.down, weights.down_bias, ws.delta}};
  ws.linear.apply(
      exec, Matrix<const float>(ws.gate.data, n_tokens, ffn.d_ff, ws.gate.stride), down);
}

}  // namespace farthing
