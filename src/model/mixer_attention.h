// The attention mixer: projections, head norms, RoPE, KV write, attention over the stored KV,
// output projection.
#pragma once

#include "cache/kv_store.h"
#include "model/attention_workspace.h"
#include "model/exec.h"
#include "model/rope.h"
#include "model/spec.h"
#include "model/weights.h"
#include "model/workspace.h"

namespace farthing {

struct KVAccess {
  const KVStore* store = nullptr;
  KVTypes types;
  AttentionMode mode = AttentionMode::kFlash;
  AttentionWorkspace* workspace = nullptr;
};

// Uses ws.q, k, v, mixed. K and V of the batch's tokens are in the store after.
void attention_mixer(const Exec& exec,
                     const ModelSpec& spec,
                     int32_t layer,
                     const LayerWeights& weights,
                     const Residual& residual,
                     const KVAccess& kv,
                     Workspace& ws);

}  // namespace farthing
