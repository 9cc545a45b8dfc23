#include "model/mixer_attention.h"

#include <algorithm>
#include <array>

namespace farthing {
namespace {

// Where this layer's rope has its angles in a row of ws.angles.
std::span<const float> angles_of(const ModelSpec& spec,
                                 int32_t rope,
                                 const Workspace& ws,
                                 int64_t row) {
  int64_t offset = 0;
  for (int32_t i = 0; i < rope; ++i) offset += spec.ropes[i].dims;
  return ws.angles[row].subspan(static_cast<size_t>(offset),
                                static_cast<size_t>(spec.ropes[rope].dims));
}

// Norm and rotate each head of one token.
void prepare_heads(const Exec& exec,
                   const ModelSpec& spec,
                   const AttentionSpec& a,
                   WeightVector norm,
                   std::span<const float> angles,
                   int32_t n_heads,
                   float* heads) {
  for (int32_t h = 0; h < n_heads; ++h) {
    float* head = heads + int64_t{h} * a.head_dim;
    if (!norm.empty()) exec.kernels->rms_norm(head, norm.data(), a.head_dim, spec.rms_eps, head);
    apply_rope(spec.ropes[a.rope], angles, head);
  }
}

std::byte* slot_of(std::byte* plane0,
                   int64_t block_stride,
                   const TokenRow& row,
                   int64_t slot_bytes) {
  const BlockId block = row.sequence->blocks[static_cast<size_t>(row.position / kKVBlockTokens)];
  return plane0 + int64_t{block.v} * block_stride + (row.position % kKVBlockTokens) * slot_bytes;
}

int64_t element_bytes(KVType type) {
  return type == KVType::kF32 ? 4 : 2;
}

// Attention of the heads that share KV head `head`, for row `t`.
AttentionTask task_for(const AttentionSpec& a,
                       int32_t layer,
                       int32_t head,
                       int64_t t,
                       const KVAccess& kv,
                       Workspace& ws) {
  const TokenRow& row = ws.rows[static_cast<size_t>(t)];
  const int32_t group = a.n_heads / a.n_kv_heads;
  const int64_t offset = int64_t{head} * group * a.head_dim;
  return AttentionTask{
      .q = ws.q.row(t) + offset,
      .q_stride = a.head_dim,
      .out = ws.mixed.row(t) + offset,
      .out_stride = a.head_dim,
      .n_heads = group,
      .head_dim = a.head_dim,
      .k_plane = kv.store->k_plane(layer, head),
      .v_plane = kv.store->v_plane(layer, head),
      .block_stride = kv.store->block_stride(layer),
      .blocks = row.sequence->blocks.data(),
      .begin = a.window > 0 ? std::max(0, row.position - a.window + 1) : 0,
      .position = row.position,
      .scale = a.scale,
      .softcap = a.softcap,
      .scratch = nullptr,
  };
}

}  // namespace

void attention_mixer(const Exec& exec,
                     const ModelSpec& spec,
                     int32_t layer,
                     const LayerWeights& weights,
                     const Residual& residual,
                     const KVAccess& kv,
                     Workspace& ws) {
  const AttentionSpec& a = spec.attention(layer);
  const int64_t n_tokens = static_cast<int64_t>(ws.rows.size());
  const int64_t q_dim = int64_t{a.n_heads} * a.head_dim;
  const size_t type = static_cast<size_t>(kv.type);
  const std::array qkv{Projection{&weights.q, weights.q_bias, ws.q},
                       Projection{&weights.k, weights.k_bias, ws.k},
                       Projection{&weights.v, weights.v_bias, ws.v}};
  load_input(exec, residual, qkv, ws);
  multiply(exec, ws.input, qkv);

  const int64_t slot_bytes = a.head_dim * element_bytes(kv.type);
  for_tokens(exec, n_tokens, [&](int64_t t) {
    const TokenRow& row = ws.rows[static_cast<size_t>(t)];
    const auto angles = angles_of(spec, a.rope, ws, t);
    prepare_heads(exec, spec, a, weights.q_norm, angles, a.n_heads, ws.q.row(t));
    prepare_heads(exec, spec, a, weights.k_norm, angles, a.n_kv_heads, ws.k.row(t));
    for (int32_t h = 0; h < a.n_kv_heads; ++h) {
      const int64_t offset = int64_t{h} * a.head_dim;
      const int64_t stride = kv.store->block_stride(layer);
      exec.kernels->store_kv[type](ws.k.row(t) + offset,
                                   a.head_dim,
                                   slot_of(kv.store->k_plane(layer, h), stride, row, slot_bytes));
      exec.kernels->store_kv[type](ws.v.row(t) + offset,
                                   a.head_dim,
                                   slot_of(kv.store->v_plane(layer, h), stride, row, slot_bytes));
    }
  });

  const int64_t n_tasks = n_tokens * a.n_kv_heads;
  if (kv.mode == AttentionMode::kFlash) {
    exec.team->parallel_for(n_tasks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        exec.kernels->attention[type](
            task_for(a, layer, static_cast<int32_t>(i % a.n_kv_heads), i / a.n_kv_heads, kv, ws));
      }
    });
  } else {
    // Each strand has a row of scores of its own and takes every n-th task.
    const int64_t n_strands = exec.team->size();
    const int64_t room = static_cast<int64_t>(kv.scores->size()) / n_strands;
    exec.team->parallel_for(n_strands, 1, [&](int64_t begin, int64_t end) {
      for (int64_t strand = begin; strand < end; ++strand) {
        for (int64_t i = strand; i < n_tasks; i += n_strands) {
          AttentionTask task =
              task_for(a, layer, static_cast<int32_t>(i % a.n_kv_heads), i / a.n_kv_heads, kv, ws);
          task.scratch = kv.scores->data() + strand * room;
          exec.kernels->attention_naive[type](task);
        }
      }
    });
  }

  const std::array output{output_projection(residual, weights.o, weights.o_bias, ws)};
  ws.input.start(
      exec, Matrix<const float>(ws.mixed.data, n_tokens, q_dim, ws.mixed.stride), output);
  for_tokens(exec, n_tokens, [&](int64_t t) { ws.input.put(t, 0, q_dim); });
  multiply(exec, ws.input, output);
}

}  // namespace farthing
