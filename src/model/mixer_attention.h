// The attention mixer: projections, head norms, RoPE, KV write, attention over the stored KV,
// output projection.
#pragma once

#include <span>
#include <vector>

#include "cache/kv_store.h"
#include "model/exec.h"
#include "model/rope.h"
#include "model/spec.h"
#include "model/weights.h"
#include "model/workspace.h"

namespace farthing {

enum class AttentionMode : uint8_t { kFlash, kNaive };  // --attention

struct KVAccess {
  const KVStore* store = nullptr;
  KVType type = KVType::kF16;
  AttentionMode mode = AttentionMode::kFlash;
  std::vector<float>* scores = nullptr;  // kNaive only: [threads][context]
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
