#include "model/workspace.h"

#include <algorithm>
#include <array>

#include "base/checked.h"

namespace farthing {
namespace {

struct Widths {
  int64_t q = 0, kv = 0, ff = 0, angles = 0, widest_input = 0;
};

Widths widths_of(const ModelSpec& spec) {
  Widths w;
  for (int32_t i = 0; i < spec.n_layers(); ++i) {
    const AttentionSpec& a = spec.attention(i);
    w.q = std::max<int64_t>(w.q, int64_t{a.n_heads} * a.head_dim);
    w.kv = std::max<int64_t>(w.kv, int64_t{a.n_kv_heads} * a.head_dim);
    w.ff = std::max<int64_t>(w.ff, spec.ffn(i).d_ff);
  }
  for (const RopeSpec& rope : spec.ropes) w.angles += rope.dims;
  w.widest_input = std::max({w.q, w.ff, int64_t{spec.d_model}});
  return w;
}

// Where each matrix lies: the same walk counts the bytes and hands them out.
template <class Take>
void lay_out(
    const ModelSpec& spec, int64_t max_tokens, int64_t max_logits, Workspace& ws, Take&& take) {
  const Widths w = widths_of(spec);
  const int64_t d = spec.d_model;
  take(ws.residual, max_tokens, d);
  take(ws.normed, max_tokens, d);
  take(ws.q, max_tokens, w.q);
  take(ws.k, max_tokens, w.kv);
  take(ws.v, max_tokens, w.kv);
  take(ws.mixed, max_tokens, w.q);
  take(ws.gate, max_tokens, w.ff);
  take(ws.up, max_tokens, w.ff);
  take(ws.delta, max_tokens, d);
  take(ws.angles, max_tokens, w.angles);
  take(ws.logits, max_logits, int64_t{spec.vocab_size});
}

// Rows start on cache lines, an odd number of them apart: at a power of two, a column of many
// tokens would lie in a few sets of the caches.
int64_t stride_of(int64_t cols) {
  constexpr int64_t kLine = 16;
  return (ceil_div(cols, kLine) | 1) * kLine;
}

int64_t matrix_bytes(const ModelSpec& spec, int64_t max_tokens, int64_t max_logits) {
  int64_t bytes = 0;
  Workspace unused;
  lay_out(spec, max_tokens, max_logits, unused, [&](Matrix<float>&, int64_t rows, int64_t cols) {
    bytes += rows * stride_of(cols) * static_cast<int64_t>(sizeof(float));
  });
  return bytes;
}

}  // namespace

int64_t Workspace::bytes_needed(const ModelSpec& spec, int32_t max_tokens, int32_t max_logits) {
  return matrix_bytes(spec, max_tokens, max_logits) +
         2 * Activations::bytes_needed(max_tokens, widths_of(spec).widest_input);
}

Result<Workspace> Workspace::create(const ModelSpec& spec, int32_t max_tokens, int32_t max_logits) {
  Workspace ws;
  FARTHING_TRY(ws.buffer,
               Buffer::allocate(static_cast<size_t>(matrix_bytes(spec, max_tokens, max_logits))));
  float* next = ws.buffer.as<float>();
  lay_out(spec, max_tokens, max_logits, ws, [&](Matrix<float>& m, int64_t rows, int64_t cols) {
    m = Matrix<float>(next, rows, cols, stride_of(cols));
    next += rows * m.stride;
  });
  FARTHING_TRY(ws.input, Activations::create(max_tokens, widths_of(spec).widest_input));
  FARTHING_TRY(ws.hidden, Activations::create(max_tokens, widths_of(spec).widest_input));
  ws.rows.reserve(static_cast<size_t>(max_tokens));
  return ws;
}

void absorb_delta(const Exec& exec, const Residual& residual, int64_t token, Workspace& ws) {
  if (!residual.pending) return;
  float* delta = ws.delta.row(token);
  if (!residual.pending_norm.empty()) {
    exec.kernels->rms_norm(delta, residual.pending_norm.data(), ws.delta.cols, residual.eps, delta);
  }
  exec.kernels->add(delta, ws.delta.cols, ws.residual.row(token));
}

void load_input(const Exec& exec,
                const Residual& residual,
                std::span<const Projection> projections,
                Workspace& ws) {
  const int64_t n_tokens = static_cast<int64_t>(ws.rows.size());
  const int64_t d = ws.residual.cols;
  ws.input.start(exec, ws.normed.slice(0, n_tokens), projections);
  for_tokens(exec, n_tokens, [&](int64_t t) {
    absorb_delta(exec, residual, t, ws);
    exec.kernels->rms_norm(
        ws.residual.row(t), residual.norm.data(), d, residual.eps, ws.normed.row(t));
    ws.input.put(t, 0, d);
  });
}

Projection output_projection(const Residual& residual,
                             const WeightMatrix& weight,
                             WeightVector bias,
                             const Workspace& ws) {
  return {&weight, bias, residual.to_delta ? ws.delta : ws.residual, !residual.to_delta};
}

}  // namespace farthing
