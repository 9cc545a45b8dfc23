#include "model/decoder.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "base/checked.h"
#include "model/ffn_dense.h"
#include "model/rope.h"

namespace farthing {
namespace {

constexpr int64_t kHeadTiles = 32;  // even; of a piece of the head: its logits stay in L1 or L2

AttentionLimits attention_limits(const DecoderOptions& options, int32_t n_threads) {
  return {.n_threads = n_threads,
          .max_tokens = options.max_tokens,
          .context = options.context,
          .max_sequences = options.max_logits,
          .mode = options.attention};
}

}  // namespace

int64_t Decoder::workspace_bytes(const ModelSpec& spec,
                                 const DecoderOptions& options,
                                 int32_t n_threads) {
  return Workspace::bytes_needed(spec, options.max_tokens, options.max_logits) +
         AttentionWorkspace::bytes_needed(spec, attention_limits(options, n_threads)) +
         int64_t{n_threads} * options.max_logits * TopK::bytes_taken(kMostBest);
}

Result<Decoder> Decoder::create(const Model& model, Exec exec, const DecoderOptions& options) {
  Decoder decoder;
  decoder.model_ = &model;
  decoder.exec_ = exec;
  decoder.options_ = options;
  FARTHING_TRY(decoder.ws_, Workspace::create(model.spec, options.max_tokens, options.max_logits));
  FARTHING_TRY(
      decoder.attention_,
      AttentionWorkspace::create(model.spec, attention_limits(options, exec.team->size())));
  decoder.best_.resize(static_cast<size_t>(exec.team->size()) *
                       static_cast<size_t>(options.max_logits));
  for (TopK& best : decoder.best_) best.start(kMostBest);
  return decoder;
}

Logits Decoder::forward(const Batch& batch, const KVStore& store) {
  CHECK(batch.n_tokens() <= options_.max_tokens && batch.n_logits() <= options_.max_logits);
  const ModelSpec& spec = model_->spec;
  const KVAccess kv{&store, options_.kv_type, options_.attention, &attention_};
  embed(batch);
  attention_.find_commons(spec, ws_.rows);
  Residual residual{.eps = spec.rms_eps};
  const int32_t n_layers = options_.n_layers > 0 ? options_.n_layers : spec.n_layers();
  for (int32_t i = 0; i < n_layers; ++i) {
    const LayerWeights& w = model_->weights.layers[static_cast<size_t>(i)];
    const bool to_delta =
        spec.layers[static_cast<size_t>(i)].post_norms || batch.n_tokens() >= kManyTokens;
    residual.to_delta = to_delta || !w.o_bias.empty();
    residual.norm = w.attn_norm;
    attention_mixer(exec_, spec, i, w, residual, kv, ws_);
    residual.output_done(w.attn_post_norm);
    residual.to_delta = to_delta || !w.down_bias.empty();
    residual.norm = w.ffn_norm;
    dense_ffn(exec_, spec.ffn(i), w, residual, ws_);
    residual.output_done(w.ffn_post_norm);
  }
  residual.norm = model_->weights.final_norm;
  return head(batch, residual);
}

// Flattens the batch and fills residual and angles.
void Decoder::embed(const Batch& batch) {
  const ModelSpec& spec = model_->spec;
  ws_.rows.clear();
  for (const Slice& slice : batch.slices) {
    CHECK(slice.first >= 0 && slice.count > 0 && slice.n_logits <= slice.count);
    CHECK(slice.first + slice.count <= static_cast<int32_t>(slice.sequence->tokens.size()));
    CHECK(slice.first + slice.count <=
          static_cast<int32_t>(slice.sequence->blocks.size()) * kKVBlockTokens);
    for (int32_t i = 0; i < slice.count; ++i) ws_.rows.push_back({slice.sequence, slice.first + i});
  }
  for_tokens(exec_, static_cast<int64_t>(ws_.rows.size()), [&](int64_t t) {
    const TokenRow& row = ws_.rows[static_cast<size_t>(t)];
    const TokenId token = row.sequence->tokens[static_cast<size_t>(row.position)];
    CHECK(token >= 0 && token < spec.vocab_size);
    float* out = ws_.residual.row(t);
    // The row of normed is not in use yet: room for the bytes of a tied table's row.
    model_->weights.embedding.decode_row(
        token, reinterpret_cast<std::byte*>(ws_.normed.row(t)), out);
    if (spec.embedding_scale != 1.0f) {
      for (int32_t c = 0; c < spec.d_model; ++c) out[c] *= spec.embedding_scale;
    }
    auto angles = ws_.angles[t];
    for (const RopeSpec& rope : spec.ropes) {
      rope_angles(rope, row.position, angles.first(static_cast<size_t>(rope.dims)));
      angles = angles.subspan(static_cast<size_t>(rope.dims));
    }
  });
}

// Final norm and head for the positions that want logits. ws_.normed holds them in order.
Logits Decoder::head(const Batch& batch, const Residual& residual) {
  const ModelSpec& spec = model_->spec;
  Matrix<float> logits(ws_.logits.data, batch.n_logits(), spec.vocab_size, ws_.logits.stride);
  if (logits.rows == 0) return {};
  const std::array projection{Projection{&model_->weights.head, {}, logits}};
  ws_.input.start(exec_, ws_.normed.slice(0, logits.rows), projection);
  int64_t n_out = 0;
  int64_t row = 0;
  for (const Slice& slice : batch.slices) {
    for (int32_t i = slice.count - slice.n_logits; i < slice.count; ++i, ++n_out) {
      absorb_delta(exec_, residual, row + i, ws_);
      exec_.kernels->rms_norm(ws_.residual.row(row + i),
                              residual.norm.data(),
                              spec.d_model,
                              residual.eps,
                              ws_.normed.row(n_out));
      ws_.input.put(n_out, 0, spec.d_model);
    }
    row += slice.count;
  }
  if (batch.best_only() && best_logits(batch, n_out)) {
    return {.best = std::span(best_).first(static_cast<size_t>(n_out))};
  }
  multiply(exec_, ws_.input, projection);
  if (spec.final_softcap > 0)
    for_tokens(exec_, n_out, [&](int64_t t) { soften(logits.slice(t, 1)); });
  return {.all = logits};
}

void Decoder::soften(Matrix<float> logits) const {
  const float cap = model_->spec.final_softcap;
  if (cap <= 0) return;
  for (int64_t r = 0; r < logits.rows; ++r) {
    exec_.kernels->soft_cap(cap, logits.cols, logits.row(r));
  }
}

// The best logits of n_rows inputs: each thread keeps those of the rows of the head that it takes,
// piece by piece, so that a vocabulary's logits never lie in memory. False if the vocabulary is so
// small that the pieces have no room.
bool Decoder::best_logits(const Batch& batch, int64_t n_rows) {
  const WeightMatrix& head = model_->weights.head;
  const int64_t n_threads = exec_.team->size();
  // Each thread's piece lies in a part of ws_.logits; its rows an odd number of cache lines apart.
  const int64_t room = ws_.logits.rows * ws_.logits.stride / n_threads / n_rows / kTileRows;
  if (room < 3) return false;
  const int64_t step = std::min((room - 1) / 2 * 2, kHeadTiles);
  const auto of = [&](int64_t thread, int64_t row) -> TopK& {
    return best_[static_cast<size_t>(thread * options_.max_logits + row)];
  };
  for (int64_t thread = 0; thread < n_threads; ++thread) {
    int64_t row = 0;
    for (const Slice& slice : batch.slices) {
      for (int32_t i = 0; i < slice.n_logits; ++i) of(thread, row++).start(slice.n_best);
    }
  }
  for_tasks(exec_, ceil_div(head.n_tiles(), step), [&](int64_t task, int64_t thread) {
    const int64_t begin = task * step, end = std::min(begin + step, head.n_tiles());
    const int64_t first = begin * kTileRows;
    const int64_t stride = (step + 1) * kTileRows;
    const Matrix<float> piece(ws_.logits.data + thread * n_rows * stride,
                              n_rows,
                              std::min(end * kTileRows, head.rows) - first,
                              stride);
    multiply_tiles(exec_, ws_.input, head, begin, end, piece);
    soften(piece);
    for (int64_t r = 0; r < n_rows; ++r) of(thread, r).add(piece[r], static_cast<TokenId>(first));
  });
  for (int64_t thread = 1; thread < n_threads; ++thread) {
    for (int64_t r = 0; r < n_rows; ++r) of(0, r).merge(of(thread, r));
  }
  return true;
}

}  // namespace farthing
