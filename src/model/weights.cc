#include "model/weights.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/thread_team.h"

namespace farthing {
namespace {

// A matrix to be packed: where its rows lie in the file and where its tiles go.
struct Packing {
  const TensorView* tensor;
  WeightMatrix* out;
  int64_t offset;  // in Weights::tiles
};

class Binder {
 public:
  Binder(const ModelFile& file, WeightMode mode, bool dry_run)
      : file_(file), mode_(mode), dry_run_(dry_run) {}

  Status matrix(const std::string& name, int64_t cols, int64_t rows, WeightMatrix& out) {
    FARTHING_TRY(const TensorView* tensor, find_matrix(name, cols, rows));
    out = WeightMatrix{type_in_memory(*tensor, mode_), rows, cols, nullptr};
    packings.push_back({tensor, &out, tiles_bytes});
    tiles_bytes += tiled_bytes(out.type, rows, cols);
    return {};
  }

  // Rows that stay where they are in the file.
  Status rows_in_file(const std::string& name, int64_t cols, int64_t rows, EmbeddingTable& out) {
    FARTHING_TRY(const TensorView* tensor, find_matrix(name, cols, rows));
    if (tensor->make_rows) {
      return bad_input("tensor {}: an embedding must lie in the file as plain rows", name);
    }
    out.matrix = WeightMatrix{tensor->type, rows, cols, nullptr};
    out.file_rows = tensor->bytes.data();
    file_rows_bytes += static_cast<int64_t>(tensor->bytes.size());
    return {};
  }

  // Vectors are decoded to f32 once.
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
    const size_t bytes = static_cast<size_t>(n) * sizeof(float);
    vectors_bytes += Buffer::bytes_taken(bytes);
    if (dry_run_) return {};
    FARTHING_TRY(Buffer buffer, Buffer::allocate(bytes));
    format_of(tensor->type).decode(tensor->row(0), buffer.as<float>(), n);
    out = {buffer.as<float>(), static_cast<size_t>(n)};
    owned.push_back(std::move(buffer));
    return {};
  }

  std::vector<Packing> packings;
  int64_t tiles_bytes = 0;
  int64_t vectors_bytes = 0;
  int64_t file_rows_bytes = 0;
  std::vector<Buffer> owned;

 private:
  Result<const TensorView*> find_matrix(const std::string& name, int64_t cols, int64_t rows) {
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
    return tensor;
  }

  const ModelFile& file_;
  WeightMode mode_;
  bool dry_run_;
};

// One tile of a matrix, converted on the way if its type isn't the file's.
void pack(const TensorView& tensor, const WeightMatrix& m, int64_t tile, std::byte* out) {
  const int64_t first = tile * kTileRows;
  const int64_t n_rows = std::min(kTileRows, m.rows - first);
  std::vector<std::byte> made;
  const std::byte* source = tensor.rows_at(first, n_rows, made);
  if (m.type == tensor.type) {
    pack_tile(m.type, source, n_rows, m.cols, out);
    return;
  }
  const int64_t row_bytes = bytes_for(m.type, m.cols);
  std::vector<float> values(static_cast<size_t>(m.cols));
  std::vector<std::byte> rows(static_cast<size_t>(n_rows * row_bytes));
  for (int64_t r = 0; r < n_rows; ++r) {
    format_of(tensor.type).decode(source + r * tensor.row_bytes(), values.data(), m.cols);
    format_of(m.type).encode(values.data(), rows.data() + r * row_bytes, m.cols);
  }
  pack_tile(m.type, rows.data(), n_rows, m.cols, out);
}

// Tiles [begin, end) of a matrix: about kPieceBytes of the file.
struct Piece {
  const Packing* packing;
  int64_t begin, end;

  // Where its rows lie; nothing if they are made.
  std::span<const std::byte> source() const {
    const TensorView& t = *packing->tensor;
    if (t.make_rows) return {};
    const int64_t row_bytes = bytes_for(t.type, t.cols());
    const int64_t last_row = std::min(end * kTileRows, t.rows());
    return {t.row(begin * kTileRows),
            static_cast<size_t>((last_row - begin * kTileRows) * row_bytes)};
  }
};
constexpr int64_t kPieceBytes = int64_t{1} << 20;
// So many pieces are on their way from the disk.
constexpr size_t kPiecesAhead = 32;

std::vector<Piece> pieces_of(const std::vector<Packing>& packings) {
  std::vector<Piece> pieces;
  for (const Packing& p : packings) {
    const int64_t tile_rows_bytes = kTileRows * bytes_for(p.tensor->type, p.tensor->cols());
    const int64_t step = std::max<int64_t>(1, kPieceBytes / tile_rows_bytes);
    for (int64_t t = 0; t < p.out->n_tiles(); t += step) {
      pieces.push_back({&p, t, std::min(t + step, p.out->n_tiles())});
    }
  }
  return pieces;
}

// Fills the tiles. The threads take one piece after the other, so that the disk reads ahead of them
// in order, and give its pages back: of the file, little more than a piece for each is in memory.
void pack_all(const std::vector<Packing>& packings,
              const ModelFile& file,
              std::byte* tiles,
              ThreadTeam& team) {
  const std::vector<Piece> pieces = pieces_of(packings);
  const auto want = [&](size_t i) {
    if (i >= pieces.size()) return;
    for (const MappedFile& f : file.files) f.want_pages(pieces[i].source());
  };
  for (size_t i = 0; i < kPiecesAhead; ++i) want(i);
  std::atomic<size_t> next = 0;
  team.parallel_for(team.size(), 1, [&](int64_t, int64_t) {
    for (size_t i = next++; i < pieces.size(); i = next++) {
      want(i + kPiecesAhead);
      const Piece& piece = pieces[i];
      const WeightMatrix& m = *piece.packing->out;
      const int64_t size = tile_bytes(m.type, m.cols);
      std::byte* out = tiles + piece.packing->offset;
      for (int64_t t = piece.begin; t < piece.end; ++t) {
        pack(*piece.packing->tensor, m, t, out + t * size);
      }
      for (const MappedFile& f : file.files) f.drop_pages(piece.source());
    }
  });
  for (const Packing& p : packings) {
    p.out->tiles = tiles + p.offset;
    for (const MappedFile& f : file.files) f.drop_pages(p.tensor->bytes);  // between two pieces
  }
}

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

Status bind(const ModelSpec& spec, const ModelFile& file, Binder& binder, Weights& weights) {
  weights.tied = file.find("output.weight") == nullptr;
  const char* head = weights.tied ? "token_embd.weight" : "output.weight";
  if (!weights.tied) {
    FARTHING_TRY_VOID(
        binder.rows_in_file("token_embd.weight", spec.d_model, spec.vocab_size, weights.embedding));
  }
  FARTHING_TRY_VOID(binder.vector("output_norm.weight", spec.d_model, true, weights.final_norm));
  weights.layers.resize(static_cast<size_t>(spec.n_layers()));  // the binder keeps addresses
  for (int32_t i = 0; i < spec.n_layers(); ++i) {
    FARTHING_TRY_VOID(bind_layer(binder, spec, i, weights.layers[static_cast<size_t>(i)]));
  }
  return binder.matrix(head, spec.d_model, spec.vocab_size, weights.head);
}

}  // namespace

void each_matrix(const Weights& weights,
                 const std::function<void(const std::string& tensor, const WeightMatrix&)>& fn) {
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    const LayerWeights& w = weights.layers[i];
    const std::pair<const char*, const WeightMatrix*> matrices[] = {{"attn_q", &w.q},
                                                                    {"attn_k", &w.k},
                                                                    {"attn_v", &w.v},
                                                                    {"attn_output", &w.o},
                                                                    {"ffn_gate", &w.gate},
                                                                    {"ffn_up", &w.up},
                                                                    {"ffn_down", &w.down}};
    for (const auto& [name, matrix] : matrices)
      fn(fmt::format("blk.{}.{}.weight", i, name), *matrix);
  }
  fn(weights.tied ? "token_embd.weight" : "output.weight", weights.head);
}

DType type_in_memory(const TensorView& tensor, WeightMode mode) {
  switch (mode) {
    case WeightMode::kNative:
      return tensor.type;
    case WeightMode::kF32:
      return DType::kF32;
    case WeightMode::kInt8:
      return tensor.cols() % format_of(DType::kQ8_0).qblock_values == 0 ? DType::kQ8_0
                                                                        : tensor.type;
  }
  return tensor.type;
}

void EmbeddingTable::decode_row(int64_t row, std::byte* scratch, float* out) const {
  const Format& format = format_of(matrix.type);
  if (file_rows != nullptr) {
    format.decode(file_rows + row * bytes_for(matrix.type, matrix.cols), out, matrix.cols);
    return;
  }
  const std::byte* tile = matrix.tiles + row / kTileRows * tile_bytes(matrix.type, matrix.cols);
  unpack_row(matrix.type, tile, row % kTileRows, matrix.cols, scratch);
  format.decode(scratch, out, matrix.cols);
}

Result<Weights> load_weights(const ModelSpec& spec,
                             const ModelFile& file,
                             WeightMode mode,
                             int32_t n_threads) {
  Binder binder(file, mode, /*dry_run=*/false);
  Weights weights;
  FARTHING_TRY_VOID(bind(spec, file, binder, weights));
  weights.tiles_bytes = binder.tiles_bytes;
  FARTHING_TRY(weights.tiles, Buffer::allocate(static_cast<size_t>(binder.tiles_bytes)));
  ThreadTeam team(n_threads);
  pack_all(binder.packings, file, weights.tiles.data(), team);
  weights.owned = std::move(binder.owned);
  if (weights.tied) weights.embedding.matrix = weights.head;
  return weights;
}

Result<WeightsMemory> weights_memory(const ModelSpec& spec,
                                     const ModelFile& file,
                                     WeightMode mode) {
  Binder binder(file, mode, /*dry_run=*/true);
  Weights weights;
  FARTHING_TRY_VOID(bind(spec, file, binder, weights));
  return WeightsMemory{Buffer::bytes_taken(static_cast<size_t>(binder.tiles_bytes)),
                       binder.vectors_bytes,
                       binder.file_rows_bytes};
}

}  // namespace farthing
