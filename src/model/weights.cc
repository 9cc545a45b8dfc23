#include "model/weights.h"

#include <utility>

namespace farthing {
namespace {

class Binder {
 public:
  Binder(const ModelFile& file, WeightMode mode, bool dry_run)
      : file_(file), mode_(mode), dry_run_(dry_run) {}

  Status matrix(const std::string& name, int64_t cols, int64_t rows, WeightMatrix& out) {
    const TensorView* tensor = file_.find(name);
    if (tensor == nullptr) return bad_input("tensor {} is missing", name);
    if (tensor->n_dims != 2 || tensor->cols() != cols || tensor->rows() != rows) {
      return bad_input("tensor {} is {} x {}, expected {} x {}",
                       name,
                       tensor->cols(),
                       tensor->rows(),
                       cols,
                       rows);
    }
    out = WeightMatrix{tensor->type, rows, cols, tensor->bytes.data()};
    if (dry_run_) return {};
    switch (mode_) {
      case WeightMode::kNative:
        return {};
      case WeightMode::kF32:
        return convert(DType::kF32, out);
      // Rows that aren't whole groups of 32 stay as they are, as quantisers of files leave them.
      case WeightMode::kInt8:
        return cols % format_of(DType::kQ8_0).qblock_values == 0 ? convert(DType::kQ8_0, out)
                                                                 : Status{};
    }
    return {};
  }

  // Vectors are decoded to f32 once; an F32 tensor is used in place when aligned.
  Status vector(const std::string& name, int64_t n, bool required, WeightVector& out) {
    const TensorView* tensor = file_.find(name);
    if (tensor == nullptr) {
      return required ? Status(bad_input("tensor {} is missing", name)) : Status{};
    }
    if (tensor->n_dims != 1 || tensor->size() != n) {
      return bad_input("tensor {} has {} dimensions and {} values, expected one of {}",
                       name,
                       tensor->n_dims,
                       tensor->size(),
                       n);
    }
    if (dry_run_) return {};
    FARTHING_TRY(Buffer buffer, Buffer::allocate(static_cast<size_t>(n) * sizeof(float)));
    format_of(tensor->type).decode(tensor->bytes.data(), buffer.as<float>(), n);
    out = {buffer.as<float>(), static_cast<size_t>(n)};
    owned.push_back(std::move(buffer));
    return {};
  }

  std::vector<Buffer> owned;

 private:
  Status convert(DType type, WeightMatrix& m) {
    if (m.type == type) return {};
    FARTHING_TRY(Buffer buffer,
                 Buffer::allocate(static_cast<size_t>(bytes_for(type, m.cols) * m.rows)));
    std::vector<float> row(static_cast<size_t>(m.cols));
    for (int64_t r = 0; r < m.rows; ++r) {
      format_of(m.type).decode(m.data + r * m.row_bytes(), row.data(), m.cols);
      std::byte* to = buffer.data() + r * bytes_for(type, m.cols);
      format_of(type).encode(row.data(), to, m.cols);
    }
    m.type = type;
    m.data = buffer.data();
    owned.push_back(std::move(buffer));
    return {};
  }

  const ModelFile& file_;
  WeightMode mode_;
  bool dry_run_;
};

Status bind_layer(Binder& b, const ModelSpec& spec, int32_t i, LayerWeights& w) {
  const AttentionSpec& a = spec.attention(i);
  const int64_t d = spec.d_model;
  const int64_t q_dim = int64_t{a.n_heads} * a.head_dim;
  const int64_t kv_dim = int64_t{a.n_kv_heads} * a.head_dim;
  const int64_t d_ff = spec.ffn(i).d_ff;
  const bool post_norms = spec.layers[i].post_norms;

  struct Matrix {
    const char* name;
    int64_t cols, rows;
    WeightMatrix* out;
  };
  const Matrix matrices[] = {
      {"attn_q", d, q_dim, &w.q},
      {"attn_k", d, kv_dim, &w.k},
      {"attn_v", d, kv_dim, &w.v},
      {"attn_output", q_dim, d, &w.o},
      {"ffn_gate", d, d_ff, &w.gate},
      {"ffn_up", d, d_ff, &w.up},
      {"ffn_down", d_ff, d, &w.down},
  };
  for (const Matrix& m : matrices) {
    FARTHING_TRY_VOID(b.matrix(fmt::format("blk.{}.{}.weight", i, m.name), m.cols, m.rows, *m.out));
  }
  struct Vector {
    const char* name;
    int64_t n;
    bool required;
    WeightVector* out;
  };
  const Vector vectors[] = {
      {"attn_norm.weight", d, true, &w.attn_norm},
      {"ffn_norm.weight", d, true, &w.ffn_norm},
      {"post_attention_norm.weight", d, post_norms, &w.attn_post_norm},
      {"post_ffw_norm.weight", d, post_norms, &w.ffn_post_norm},
      {"attn_q_norm.weight", a.head_dim, a.qk_norm, &w.q_norm},
      {"attn_k_norm.weight", a.head_dim, a.qk_norm, &w.k_norm},
      {"attn_q.bias", q_dim, false, &w.q_bias},
      {"attn_k.bias", kv_dim, false, &w.k_bias},
      {"attn_v.bias", kv_dim, false, &w.v_bias},
      {"attn_output.bias", d, false, &w.o_bias},
      {"ffn_gate.bias", d_ff, false, &w.gate_bias},
      {"ffn_up.bias", d_ff, false, &w.up_bias},
      {"ffn_down.bias", d, false, &w.down_bias},
  };
  for (const Vector& v : vectors) {
    FARTHING_TRY_VOID(b.vector(fmt::format("blk.{}.{}", i, v.name), v.n, v.required, *v.out));
  }
  return {};
}

Result<Weights> bind(const ModelSpec& spec, const ModelFile& file, WeightMode mode, bool dry_run) {
  Binder binder(file, mode, dry_run);
  Weights weights;
  FARTHING_TRY_VOID(
      binder.matrix("token_embd.weight", spec.d_model, spec.vocab_size, weights.embedding));
  weights.tied = file.find("output.weight") == nullptr;
  weights.head = weights.embedding;
  if (!weights.tied) {
    FARTHING_TRY_VOID(binder.matrix("output.weight", spec.d_model, spec.vocab_size, weights.head));
  }
  FARTHING_TRY_VOID(binder.vector("output_norm.weight", spec.d_model, true, weights.final_norm));
  for (int32_t i = 0; i < spec.n_layers(); ++i) {
    FARTHING_TRY_VOID(bind_layer(binder, spec, i, weights.layers.emplace_back()));
  }
  weights.owned = std::move(binder.owned);
  return weights;
}

}  // namespace

Result<Weights> bind_weights(const ModelSpec& spec, const ModelFile& file, WeightMode mode) {
  return bind(spec, file, mode, /*dry_run=*/false);
}

Status check_weights(const ModelSpec& spec, const ModelFile& file) {
  FARTHING_TRY([[maybe_unused]] auto weights,
               bind(spec, file, WeightMode::kNative, /*dry_run=*/true));
  return {};
}

}  // namespace farthing
