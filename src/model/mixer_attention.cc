#include "model/mixer_attention.h"

#include <algorithm>
#include <array>

#include "base/checked.h"

namespace farthing {
namespace {

// Segments of few rows with a long past: so many turns for each thread, that none waits long for
// the other's last one.
constexpr int64_t kSharedRunsPerThread = 8;

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
    apply_rope(*exec.kernels, spec.ropes[a.rope], angles, head);
  }
}

// K and V of one token to their places.
void store_kv(const Exec& exec,
              const AttentionSpec& a,
              int32_t layer,
              const KVAccess& kv,
              Workspace& ws,
              int64_t t) {
  const TokenRow& row = ws.rows[static_cast<size_t>(t)];
  const StoreKVFn store_k = exec.kernels->store_k[static_cast<size_t>(kv.types.k)];
  const StoreKVFn store_v = exec.kernels->store_v[static_cast<size_t>(kv.types.v)];
  const BlockId block = row.sequence->blocks[static_cast<size_t>(row.position / kKVBlockTokens)];
  const int64_t block_offset = int64_t{block.v} * kv.store->block_stride();
  const int32_t slot = row.position % kKVBlockTokens;
  for (int32_t h = 0; h < a.n_kv_heads; ++h) {
    const int64_t offset = int64_t{h} * a.head_dim;
    std::byte* k = kv.store->k_plane(layer, h) + block_offset;
    std::byte* v = kv.store->v_plane(layer, h) + block_offset;
    store_k(ws.k.row(t) + offset, a.head_dim, k, slot);
    store_v(ws.v.row(t) + offset, a.head_dim, v, slot);
  }
}

// ---- attention ----

// One layer's attention over the batch in ws, whose K and V are stored.
struct Mix {
  const Exec& exec;
  const AttentionSpec& a;
  int32_t layer;
  const KVAccess& kv;
  Workspace& ws;

  const AttentionKernels& kernels() const { return exec.kernels->attention; }
  const TokenRow& row(int64_t t) const { return ws.rows[static_cast<size_t>(t)]; }
  int32_t n_rows() const { return static_cast<int32_t>(ws.rows.size()); }
};

// The heads that share KV head `head`, for `count` rows of one sequence from row `t` on.
AttentionTask task_for(const Mix& m, int32_t head, int64_t t, int32_t count, float* scratch) {
  const AttentionSpec& a = m.a;
  const int32_t group = a.n_heads / a.n_kv_heads;
  const int64_t offset = int64_t{head} * group * a.head_dim;
  return AttentionTask{
      .q = m.ws.q.row(t) + offset,
      .q_stride = m.ws.q.stride,
      .out = m.ws.mixed.row(t) + offset,
      .out_stride = m.ws.mixed.stride,
      .n_rows = count,
      .n_heads = group,
      .head_dim = a.head_dim,
      .types = m.kv.types,
      .k_plane = m.kv.store->k_plane(m.layer, head),
      .v_plane = m.kv.store->v_plane(m.layer, head),
      .block_stride = m.kv.store->block_stride(),
      .blocks = m.row(t).sequence->blocks.data(),
      .position = m.row(t).position,
      .window = a.window,
      .scale = a.scale,
      .softcap = a.softcap,
      .scratch = scratch,
  };
}

// Runs of consecutive positions, short enough that every thread gets a few tasks.
void find_runs(const Mix& m) {
  auto& runs = m.kv.workspace->runs;
  const int64_t wanted = kSharedTasksPerThread * m.exec.team->size();
  const int64_t most = std::clamp<int64_t>(ceil_div(int64_t{m.n_rows()} * m.a.n_kv_heads, wanted),
                                           1,
                                           AttentionWorkspace::most_rows(m.a));
  runs.clear();
  const auto& commons = m.kv.workspace->commons;
  auto common = m.a.window > 0 ? commons.end() : commons.begin();
  for (int32_t t = 0; t < m.n_rows(); ++t) {
    if (common != commons.end() && t == common->row + common->count) ++common;
    const auto* of = common != commons.end() && t >= common->row ? &*common : nullptr;
    const bool goes_on = t > 0 && m.row(t).sequence == m.row(t - 1).sequence &&
                         m.row(t).position == m.row(t - 1).position + 1;
    if (goes_on && runs.back().count < most && runs.back().common == of) {
      ++runs.back().count;
    } else {
      runs.push_back({t, 1, of});
    }
  }
}

// Where the parts of a common's segment and KV head are: [row][head][part].
float* common_parts(const Mix& m,
                    const AttentionWorkspace::Common& common,
                    int32_t segment,
                    int32_t head) {
  const int64_t row_floats = m.a.n_heads * attention_part_floats(m.a.head_dim);
  const int64_t rows = common.first_row + int64_t{segment} * common.count;
  const int64_t head_floats = row_floats / m.a.n_kv_heads * common.count;
  return m.kv.workspace->parts() + rows * row_floats + head * head_floats;
}

void attend_commons(const Mix& m) {
  const AttentionWorkspace& w = *m.kv.workspace;
  int64_t n_segments = 0;
  for (const auto& common : w.commons) n_segments += common.n_segments;
  for_tasks(m.exec, n_segments * m.a.n_kv_heads, [&](int64_t i, int64_t thread) {
    const auto head = static_cast<int32_t>(i % m.a.n_kv_heads);
    auto segment = static_cast<int32_t>(i / m.a.n_kv_heads);
    auto common = w.commons.begin();
    for (; segment >= common->n_segments; ++common) segment -= common->n_segments;
    AttentionTask task = task_for(m, head, common->row, common->count, w.scratch(thread));
    task.position = common->n_segments * kAttentionSegment;  // all of it is past, for every row
    m.kernels().segment(task, segment, common_parts(m, *common, segment, head));
  });
}

void attend_runs(const Mix& m) {
  find_runs(m);
  const auto& runs = m.kv.workspace->runs;
  const auto compute = m.kv.mode == AttentionMode::kFlash ? m.kernels().rows : m.kernels().naive;
  const auto n_runs = static_cast<int64_t>(runs.size());
  if (!m.kv.workspace->commons.empty() && m.a.window == 0) attend_commons(m);
  // The last first: they see most, and what is left for the end should be small.
  for_tasks(m.exec, n_runs * m.a.n_kv_heads, [&](int64_t i, int64_t thread) {
    const auto& run = runs[static_cast<size_t>(n_runs - 1 - i / m.a.n_kv_heads)];
    const auto head = static_cast<int32_t>(i % m.a.n_kv_heads);
    AttentionTask task = task_for(m, head, run.row, run.count, m.kv.workspace->scratch(thread));
    if (run.common) {
      const int64_t query = int64_t{run.row - run.common->row} * task.n_heads;
      task.known =
          common_parts(m, *run.common, 0, head) + query * attention_part_floats(m.a.head_dim);
      task.known_stride =
          common_parts(m, *run.common, 1, head) - common_parts(m, *run.common, 0, head);
      task.n_known = run.common->n_segments;
    }
    compute(task);
  });
}

// Few rows and a long past: fills workspace.shared; false if it wouldn't help or parts lack room.
bool find_shared(const Mix& m) {
  auto& shared = m.kv.workspace->shared;
  const int64_t n_threads = m.exec.team->size();
  shared.clear();
  if (m.kv.mode != AttentionMode::kFlash || n_threads == 1) return false;
  if (int64_t{m.n_rows()} * m.a.n_kv_heads >= kSharedTasksPerThread * n_threads) return false;
  int64_t n_units = 0;
  for (int32_t t = 0; t < m.n_rows(); ++t) {
    const int32_t position = m.row(t).position;
    const int32_t first = attention_begin(position, m.a.window) / kAttentionSegment;
    const int32_t count = position / kAttentionSegment - first + 1;
    for (int32_t head = 0; head < m.a.n_kv_heads; ++head) {
      shared.push_back({t, head, first, count, n_units});
      n_units += count;
    }
  }
  const int64_t unit_floats = m.a.n_heads / m.a.n_kv_heads * attention_part_floats(m.a.head_dim);
  return n_units > static_cast<int64_t>(shared.size()) &&
         n_units * unit_floats <= m.kv.workspace->parts_floats();
}

void attend_shared(const Mix& m) {
  const AttentionWorkspace& w = *m.kv.workspace;
  const int64_t unit_floats = m.a.n_heads / m.a.n_kv_heads * attention_part_floats(m.a.head_dim);
  const int64_t n_units = w.shared.back().first_unit + w.shared.back().n_segments;
  // Several in a row, since each fetches the keys of the segment after it.
  const int64_t in_a_row =
      std::max<int64_t>(1, n_units / (kSharedRunsPerThread * int64_t{m.exec.team->size()}));
  for_tasks(m.exec, ceil_div(n_units, in_a_row), [&](int64_t i, int64_t thread) {
    const int64_t end = std::min(n_units, (i + 1) * in_a_row);
    for (int64_t unit = i * in_a_row; unit < end; ++unit) {
      const auto after =
          std::ranges::upper_bound(w.shared, unit, {}, &AttentionWorkspace::Shared::first_unit);
      const auto& s = *std::prev(after);
      m.kernels().segment(task_for(m, s.head, s.row, 1, w.scratch(thread)),
                          s.first_segment + static_cast<int32_t>(unit - s.first_unit),
                          w.parts() + unit * unit_floats);
    }
  });
  for_tasks(m.exec, static_cast<int64_t>(w.shared.size()), [&](int64_t i, int64_t thread) {
    const auto& s = w.shared[static_cast<size_t>(i)];
    m.kernels().merge(task_for(m, s.head, s.row, 1, w.scratch(thread)),
                      w.parts() + s.first_unit * unit_floats,
                      s.n_segments);
  });
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
  const std::array qkv{Projection{&weights.q, weights.q_bias, ws.q},
                       Projection{&weights.k, weights.k_bias, ws.k},
                       Projection{&weights.v, weights.v_bias, ws.v}};
  load_input(exec, residual, qkv, ws);
  multiply(exec, ws.input, qkv);

  for_tokens(exec, n_tokens, [&](int64_t t) {
    const auto angles = angles_of(spec, a.rope, ws, t);
    prepare_heads(exec, spec, a, weights.q_norm, angles, a.n_heads, ws.q.row(t));
    prepare_heads(exec, spec, a, weights.k_norm, angles, a.n_kv_heads, ws.k.row(t));
    store_kv(exec, a, layer, kv, ws, t);
  });

  const Mix mix{exec, a, layer, kv, ws};
  if (find_shared(mix)) {
    attend_shared(mix);
  } else {
    attend_runs(mix);
  }

  const std::array output{output_projection(residual, weights.o, weights.o_bias, ws)};
  ws.input.start(
      exec, Matrix<const float>(ws.mixed.data, n_tokens, q_dim, ws.mixed.stride), output);
  for_tokens(exec, n_tokens, [&](int64_t t) { ws.input.put(t, 0, q_dim); });
  multiply(exec, ws.input, output);
}

}  // namespace farthing
