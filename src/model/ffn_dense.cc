#include "model/ffn_dense.h"

#include <array>

namespace farthing {

void dense_ffn(const Exec& exec,
               const DenseFfnSpec& ffn,
               const LayerWeights& weights,
               const Residual& residual,
               Workspace& ws) {
  const int64_t n_tokens = static_cast<int64_t>(ws.rows.size());
  const std::array gate_up{Projection{&weights.gate, weights.gate_bias, ws.gate},
                           Projection{&weights.up, weights.up_bias, ws.up}};
  const std::array down{output_projection(residual, weights.down, weights.down_bias, ws)};
  load_input(exec, residual, gate_up, ws);
  ws.hidden.start(
      exec, Matrix<const float>(ws.gate.data, n_tokens, ffn.d_ff, ws.gate.stride), down);
  multiply_gated(exec, ws.input, gate_up[0], gate_up[1], ffn.activation, ws.hidden);
  multiply(exec, ws.hidden, down);
}

}  // namespace farthing
