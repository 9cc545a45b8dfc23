// The gated feed-forward: down(activation(gate(x)) * up(x)) (Shazeer, GLU Variants, 2020).
#pragma once

#include "model/exec.h"
#include "model/spec.h"
#include "model/weights.h"
#include "model/workspace.h"

namespace farthing {

// Uses ws.gate and ws.up.
void dense_ffn(const Exec& exec,
               const DenseFfnSpec& ffn,
               const LayerWeights& weights,
               const Residual& residual,
               Workspace& ws);

}  // namespace farthing
