#include "convert/quantize.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/checked.h"
#include "base/utf8.h"
#include "convert/gguf_keys.h"
#include "load/gguf_writer.h"
#include "quant/quantize.h"

namespace farthing {
namespace {

constexpr int64_t kPieceValues = int64_t{1} << 22;  // of a tensor, on their way at once
constexpr int64_t kGrainValues = 1 << 14;
constexpr uint32_t kQuantizationVersion = 2;  // of ggml's formats
// Of the mean importance, given to every column: what the text didn't use isn't worth nothing.
constexpr float kLeastWeight = 0.01f;

// ---- rows ----

// Where a tensor's value couldn't be written.
struct Fault {
  enum class Kind : uint8_t { kNone, kNoNumber, kTooLarge };
  Kind kind = Kind::kNone;
  int64_t col = 0;
  float value = 0;
};

struct RowOutcome {
  LossSums sums;
  Fault fault;
};

void encode_row(
    const Format& format, const float* x, const float* weights, std::byte* out, int64_t n) {
  if (const QuantizeFn quantize = quantizer_of(format.type))
    quantize(x, weights, out, n);
  else
    format.encode(x, out, n);
}

// The first value that isn't finite.
std::optional<int64_t> first_bad(std::span<const float> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) return static_cast<int64_t>(i);
  }
  return std::nullopt;
}

// What a row's values count for: their columns' weights, and large ones for more, as llama-quantize
// has it too: less is lost so than by the least weighted squares (docs/decisions/0011).
void weigh(std::span<const float> x, std::span<const float> weights, std::span<float> out) {
  double squares = 0;
  for (const float v : x) squares += static_cast<double>(v) * v;
  const auto mean = static_cast<float>(squares / static_cast<double>(x.size()));
  for (size_t i = 0; i < x.size(); ++i) out[i] = weights[i] * std::sqrt(mean + x[i] * x[i]);
}

RowOutcome quantize_row(const TensorPlan& plan,
                        const std::byte* row,
                        std::span<const float> weights,  // of its columns, or empty
                        std::span<float> x,              // room for its values, before
                        std::span<float> y,              // and after
                        std::byte* out) {
  const Format& to = format_of(plan.to);
  const auto n = static_cast<int64_t>(x.size());
  format_of(plan.tensor->type).decode(row, x.data(), n);
  if (const auto bad = first_bad(x))
    return {{}, {Fault::Kind::kNoNumber, *bad, x[static_cast<size_t>(*bad)]}};
  if (!weights.empty()) weigh(x, weights, y);
  encode_row(to, x.data(), weights.empty() ? nullptr : y.data(), out, n);
  to.decode(out, y.data(), n);
  if (const auto bad = first_bad(y))
    return {{}, {Fault::Kind::kTooLarge, *bad, x[static_cast<size_t>(*bad)]}};
  RowOutcome outcome;
  outcome.sums.add(x, y, weights);
  return outcome;
}

Error describe(const TensorPlan& plan, int64_t row, const Fault& fault) {
  const std::string where =
      fmt::format("tensor '{}': row {}, column {}", printable(plan.tensor->name), row, fault.col);
  if (fault.kind == Fault::Kind::kNoNumber)
    return bad_input("{} is {}, not a number: is the file damaged?", where, fault.value);
  return bad_input("{}: {} or a value beside it is too large for {}: take BF16 or F32",
                   where,
                   fault.value,
                   format_of(plan.to).name);
}

// Weights of the columns of each matrix of the tensor, 1 in the mean; empty if there is none.
std::vector<float> column_weights(const TensorPlan& plan) {
  if (plan.importance == nullptr) return {};
  std::vector<float> weights = plan.importance->mean_squares();
  const auto cols = static_cast<size_t>(plan.tensor->cols());
  for (size_t at = 0; at < weights.size(); at += cols) {
    const std::span<float> of_one(weights.data() + at, cols);
    double sum = 0;
    for (const float w : of_one) sum += w;
    const double mean = sum / static_cast<double>(cols);
    for (float& w : of_one) {
      const double relative = mean > 0 ? w / mean : 1;
      w = static_cast<float>((relative + kLeastWeight) / (1 + kLeastWeight));
    }
  }
  return weights;
}

// Rows of a tensor, one piece after the other.
class TensorQuantizer {
 public:
  TensorQuantizer(const TensorPlan& plan, ThreadTeam& team)
      : plan_(plan), team_(team), weights_(column_weights(plan)) {}

  // Rows [begin, end) to `out`.
  Status rows(int64_t begin, int64_t end, std::byte* out) {
    const int64_t cols = plan_.tensor->cols();
    const int64_t row_bytes = bytes_for(plan_.to, cols);
    outcomes_.assign(static_cast<size_t>(end - begin), {});
    const int64_t grain = std::max<int64_t>(1, kGrainValues / cols);
    team_.parallel_for(end - begin, grain, [&](int64_t first, int64_t last) {
      std::vector<float> x(static_cast<size_t>(cols)), y(static_cast<size_t>(cols));
      std::vector<std::byte> made;
      const std::byte* row = plan_.tensor->rows_at(begin + first, last - first, made);
      for (int64_t i = first; i < last; ++i, row += plan_.tensor->row_bytes()) {
        outcomes_[static_cast<size_t>(i)] =
            quantize_row(plan_, row, weights_of(begin + i), x, y, out + i * row_bytes);
      }
    });
    // Summed in order, so that threads don't change the last digits.
    for (size_t i = 0; i < outcomes_.size(); ++i) {
      const RowOutcome& row = outcomes_[i];
      if (row.fault.kind != Fault::Kind::kNone)
        return describe(plan_, begin + static_cast<int64_t>(i), row.fault);
      sums_.add(row.sums);
    }
    return {};
  }

  TensorLoss loss() const { return sums_.loss(); }

 private:
  std::span<const float> weights_of(int64_t row) const {
    if (weights_.empty()) return {};
    const auto cols = static_cast<size_t>(plan_.tensor->cols());
    const auto matrix = static_cast<size_t>(row / plan_.tensor->dims[1]);
    return std::span(weights_).subspan(matrix * cols, cols);
  }

  const TensorPlan& plan_;
  ThreadTeam& team_;
  std::vector<float> weights_;
  std::vector<RowOutcome> outcomes_;
  LossSums sums_;
};

// ---- files ----

Result<std::vector<GgufKey>> keys_for(const QuantizePlan& plan) {
  FARTHING_TRY(std::vector<GgufKey> keys, gguf_keys(*plan.file));
  std::erase_if(keys, [](const GgufKey& key) { return key.key.starts_with("split."); });
  set_gguf_key(keys, gguf_key("general.quantization_version", kQuantizationVersion));
  set_gguf_key(keys, gguf_key("general.file_type", plan.file_type));
  if (plan.importance == nullptr) return keys;
  const ImportanceMatrix& m = *plan.importance;
  if (!m.texts.empty())
    set_gguf_key(keys, gguf_key("quantize.imatrix.dataset", std::string_view(m.texts.front())));
  set_gguf_key(keys,
               gguf_key("quantize.imatrix.entries_count", static_cast<uint32_t>(m.tensors.size())));
  set_gguf_key(keys, gguf_key("quantize.imatrix.chunks_count", m.chunks));
  return keys;
}

void drop_pages(const ModelFile& file, const std::byte* first, int64_t bytes) {
  for (const MappedFile& f : file.files) f.drop_pages({first, static_cast<size_t>(bytes)});
}

Error stopped() {
  return Error{ErrorKind::kInterrupted, ""};
}

}  // namespace

Status check_not_read(const ModelFile& file, const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const bool is_folder = !file.tokenizer_json.empty();
  for (const MappedFile& source : file.files) {
    const bool beside = is_folder && fs::exists(path, error) &&
                        fs::equivalent(fs::absolute(path, error).parent_path(),
                                       fs::absolute(source.path(), error).parent_path(),
                                       error);
    if (beside || fs::equivalent(source.path(), path, error))
      return usage_error("{}: is what is read: write to another file", path);
  }
  return {};
}

int64_t QuantizePlan::n_values() const {
  int64_t n = 0;
  for (const TensorPlan& t : tensors) n += t.tensor->size();
  return n;
}

int64_t QuantizePlan::bytes() const {
  int64_t n = 0;
  for (const TensorPlan& t : tensors) n += t.bytes();
  return n;
}

Result<QuantizePlan> plan_quantize(const ModelFile& file,
                                   const Mix& mix,
                                   const ImportanceMatrix* importance) {
  QuantizePlan plan{.file = &file, .file_type = mix.file_type, .importance = importance};
  const std::vector<DType> types = types_of(mix, file, importance != nullptr);
  int64_t n_weighted = 0;
  for (size_t i = 0; i < types.size(); ++i) {
    const TensorView& tensor = file.tensors[i];
    TensorPlan& planned = plan.tensors.emplace_back(TensorPlan{&tensor, types[i], nullptr});
    // A tensor that a mix leaves as it is may have a type of a folder's.
    if (format_of(planned.to).ggml_type == kNoGgmlType) planned.to = DType::kF32;
    if (importance == nullptr) continue;
    const auto found = importance->tensors.find(tensor.name);
    if (found == importance->tensors.end()) continue;
    const int64_t n_matrices = tensor.dims[2] * tensor.dims[3];
    if (found->second.n_matrices() != n_matrices ||
        std::cmp_not_equal(found->second.sums.size(), tensor.cols() * n_matrices)) {
      return bad_input(
          "tensor '{}': {} columns in {} matrices, but the importance matrix has {} in "
          "{}: is it of another model?",
          printable(tensor.name),
          tensor.cols(),
          n_matrices,
          found->second.sums.size(),
          found->second.n_matrices());
    }
    planned.importance = &found->second;
    ++n_weighted;
  }
  if (importance != nullptr && n_weighted == 0)
    return bad_input("the importance matrix names no tensor of this model: is it of another one?");
  return plan;
}

Result<TensorLoss> quantize_tensor(const TensorPlan& plan, ThreadTeam& team, std::byte* out) {
  if (plan.to == plan.tensor->type) {
    std::vector<std::byte> made;
    const std::byte* rows = plan.tensor->rows_at(0, plan.tensor->rows(), made);
    std::copy_n(rows, plan.tensor->size_bytes(), out);
    return TensorLoss{};
  }
  TensorQuantizer quantizer(plan, team);
  FARTHING_TRY_VOID(quantizer.rows(0, plan.tensor->rows(), out));
  return quantizer.loss();
}

Status write_quantized(const QuantizePlan& plan,
                       const std::string& path,
                       ThreadTeam& team,
                       const QuantizeProgress& progress) {
  FARTHING_TRY_VOID(check_not_read(*plan.file, path));
  FARTHING_TRY(const uint64_t alignment, gguf_alignment(plan.file->metadata));
  FARTHING_TRY(const std::vector<GgufKey> keys, keys_for(plan));
  std::vector<GgufTensor> tensors;
  for (const TensorPlan& t : plan.tensors)
    tensors.push_back({t.tensor->name, t.to, t.tensor->dims, t.tensor->n_dims});
  FARTHING_TRY(GgufWriter writer, GgufWriter::create(path, keys, std::move(tensors), alignment));
  std::vector<std::byte> piece, made;
  int64_t values_done = 0;
  for (size_t index = 0; index < plan.tensors.size(); ++index) {
    const TensorPlan& t = plan.tensors[index];
    const int64_t cols = t.tensor->cols();
    const int64_t step = std::max<int64_t>(1, kPieceValues / cols);
    TensorQuantizer quantizer(t, team);
    for (int64_t row = 0; row < t.tensor->rows(); row += step) {
      const int64_t count = std::min(step, t.tensor->rows() - row);
      if (t.to == t.tensor->type) {
        const std::byte* rows = t.tensor->rows_at(row, count, made);
        FARTHING_TRY_VOID(writer.write({rows, static_cast<size_t>(count * t.tensor->row_bytes())}));
      } else {
        piece.resize(static_cast<size_t>(bytes_for(t.to, cols) * count));
        FARTHING_TRY_VOID(quantizer.rows(row, row + count, piece.data()));
        FARTHING_TRY_VOID(writer.write(piece));
      }
      if (!t.tensor->make_rows)
        drop_pages(*plan.file, t.tensor->row(row), count * t.tensor->row_bytes());
      values_done += count * cols;
      if (!progress(index, values_done, nullptr)) return stopped();
    }
    const TensorLoss loss = quantizer.loss();
    if (!progress(index, values_done, &loss)) return stopped();
  }
  return writer.finish();
}

}  // namespace farthing
