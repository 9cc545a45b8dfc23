#include "model/decoder.h"

#include <array>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "model/ffn_dense.h"
#include "model/rope.h"

namespace farthing {
namespace {

// out = norm(in) for each token.
void norm_rows(const Exec& exec,
               WeightVector gain,
               float eps,
               int64_t n_tokens,
               Matrix<const float> in,
               Matrix<float> out) {
  exec.team->parallel_for(n_tokens, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      exec.kernels->rms_norm(
          in.row(t), gain.data(), static_cast<int64_t>(gain.size()), eps, out.row(t));
    }
  });
}

// residual += norm(delta), or delta itself where the model has no such norm.
void add_delta(const Exec& exec, WeightVector post_norm, float eps, Workspace& ws) {
  exec.team->parallel_for(static_cast<int64_t>(ws.rows.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      if (!post_norm.empty()) {
        exec.kernels->rms_norm(
            ws.delta.row(t), post_norm.data(), ws.delta.cols, eps, ws.delta.row(t));
      }
      exec.kernels->add(ws.delta.row(t), ws.delta.cols, ws.residual.row(t));
    }
  });
}

}  // namespace

int64_t Decoder::workspace_bytes(const ModelSpec& spec, const DecoderOptions& options) {
  return Workspace::bytes_needed(spec, options.max_tokens, options.max_logits);
}

Result<Decoder> Decoder::create(const Model& model, Exec exec, const DecoderOptions& options) {
  Decoder decoder;
  decoder.model_ = &model;
  decoder.exec_ = exec;
  decoder.options_ = options;
  FARTHING_TRY(decoder.ws_, Workspace::create(model.spec, options.max_tokens, options.max_logits));
  if (options.attention == AttentionMode::kNaive) {
    decoder.scores_.resize(static_cast<size_t>(exec.team->size()) *
                           static_cast<size_t>(options.context));
  }
  return decoder;
}

Matrix<float> Decoder::forward(const Batch& batch, const KVStore& store) {
  CHECK(batch.n_tokens() <= options_.max_tokens && batch.n_logits() <= options_.max_logits);
  const ModelSpec& spec = model_->spec;
  const KVAccess kv{&store, options_.kv_type, options_.attention, &scores_};
  embed(batch);
  const int64_t n_tokens = static_cast<int64_t>(ws_.rows.size());
  for (int32_t i = 0; i < spec.n_layers(); ++i) {
    const LayerWeights& w = model_->weights.layers[static_cast<size_t>(i)];
    norm_rows(exec_, w.attn_norm, spec.rms_eps, n_tokens, ws_.residual, ws_.normed);
    attention_mixer(exec_, spec, i, w, kv, ws_);
    add_delta(exec_, w.attn_post_norm, spec.rms_eps, ws_);
    norm_rows(exec_, w.ffn_norm, spec.rms_eps, n_tokens, ws_.residual, ws_.normed);
    dense_ffn(exec_, spec, spec.ffn(i), w, ws_);
    add_delta(exec_, w.ffn_post_norm, spec.rms_eps, ws_);
  }
  return head(batch);
}

// Flattens the batch and fills residual and angles.
void Decoder::embed(const Batch& batch) {
  const ModelSpec& spec = model_->spec;
  const WeightMatrix& table = model_->weights.embedding;
  ws_.rows.clear();
  for (const Slice& slice : batch.slices) {
    CHECK(slice.first >= 0 && slice.count > 0 && slice.n_logits <= slice.count);
    CHECK(slice.first + slice.count <= slice.sequence->size());
    CHECK(slice.first + slice.count <=
          static_cast<int32_t>(slice.sequence->blocks.size()) * kKVBlockTokens);
    for (int32_t i = 0; i < slice.count; ++i) ws_.rows.push_back({slice.sequence, slice.first + i});
  }
  exec_.team->parallel_for(
      static_cast<int64_t>(ws_.rows.size()), 1, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          const TokenRow& row = ws_.rows[static_cast<size_t>(t)];
          const TokenId token = row.sequence->tokens[static_cast<size_t>(row.position)];
          CHECK(token >= 0 && token < spec.vocab_size);
          float* out = ws_.residual.row(t);
          format_of(table.type).decode(table.data + token * table.row_bytes(), out, spec.d_model);
          if (spec.embedding_scale != 1.0f) {
            for (int32_t c = 0; c < spec.d_model; ++c) out[c] *= spec.embedding_scale;
          }
          auto angles = ws_.angles[t];
          for (const RopeSpec& rope : spec.ropes) {
            rope_angles(rope, row.position, angles.first(static_cast<size_t>(rope.dims)));
            angles = angles.subspan(static_cast<size_t>(rope.dims));
          }
        }
      });
}

// Final norm and head for the positions that want logits. ws_.normed holds them in order.
Matrix<float> Decoder::head(const Batch& batch) {
  const ModelSpec& spec = model_->spec;
  const Weights& w = model_->weights;
  int64_t n_out = 0;
  int64_t row = 0;
  for (const Slice& slice : batch.slices) {
    for (int32_t i = slice.count - slice.n_logits; i < slice.count; ++i) {
      exec_.kernels->rms_norm(ws_.residual.row(row + i),
                              w.final_norm.data(),
                              spec.d_model,
                              spec.rms_eps,
                              ws_.normed.row(n_out++));
    }
    row += slice.count;
  }
  Matrix<float> logits(ws_.logits.data, n_out, spec.vocab_size, ws_.logits.stride);
  if (n_out == 0) return logits;
  const std::array projection{Projection{&w.head, {}, logits}};
  ws_.linear.apply(exec_,
                   Matrix<const float>(ws_.normed.data, n_out, spec.d_model, ws_.normed.stride),
                   projection);
  if (spec.final_softcap > 0) {
    const float cap = spec.final_softcap;
    exec_.team->parallel_for(n_out, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        for (float& x : logits[t]) x = cap * std::tanh(x / cap);
      }
    });
  }
  return logits;
}

}  // namespace farthing
