#include "convert/importance.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/mapped_file.h"
#include "base/utf8.h"
#include "load/gguf.h"
#include "load/gguf_writer.h"
#include "load/limits.h"

namespace farthing {
namespace {

constexpr std::string_view kType = "general.type";
constexpr std::string_view kTexts = "imatrix.datasets";
constexpr std::string_view kChunks = "imatrix.chunk_count";
constexpr std::string_view kChunkSize = "imatrix.chunk_size";
constexpr std::string_view kSums = ".in_sum2";
constexpr std::string_view kCounts = ".counts";
constexpr int64_t kMostCount = 0xffffffff;
constexpr size_t kMostBytes = size_t{2} << 30;  // of a file; one of a model of 700B takes 1 GiB

Result<std::vector<float>> numbers_of(const TensorView& tensor, bool whole) {
  if (tensor.type != DType::kF32)
    return bad_input(
        "tensor '{}': {} instead of F32", printable(tensor.name), format_of(tensor.type).name);
  std::vector<float> out(static_cast<size_t>(tensor.size()));
  std::memcpy(out.data(), tensor.bytes.data(), tensor.bytes.size());
  for (const float value : out) {
    if (!(value >= 0) || !std::isfinite(value) || (whole && value != std::floor(value)))
      return bad_input("tensor '{}': holds {}, which is no {}",
                       printable(tensor.name),
                       value,
                       whole ? "count" : "sum of squares");
  }
  return out;
}

Status add(const TensorView& tensor, ImportanceMatrix& out) {
  const std::string_view name = tensor.name;
  const bool is_sums = name.ends_with(kSums);
  if (!is_sums && !name.ends_with(kCounts)) return {};  // of a newer writer
  const std::string_view of = name.substr(0, name.size() - (is_sums ? kSums : kCounts).size());
  Importance& importance = out.tensors[std::string(of)];
  std::vector<float>& numbers = is_sums ? importance.sums : importance.counts;
  if (!numbers.empty()) return bad_input("tensor '{}': occurs a second time", printable(name));
  FARTHING_TRY(numbers, numbers_of(tensor, !is_sums));
  return {};
}

Status check(const std::string& name, const Importance& importance) {
  const auto missing = [&](std::string_view suffix) {
    return bad_input("tensor '{}{}' is missing", printable(name), suffix);
  };
  if (importance.sums.empty()) return missing(kSums);
  if (importance.counts.empty()) return missing(kCounts);
  if (importance.sums.size() % importance.counts.size() != 0)
    return bad_input("tensor '{}{}': {} values don't go into {} matrices",
                     printable(name),
                     kSums,
                     importance.sums.size(),
                     importance.counts.size());
  return {};
}

}  // namespace

std::vector<float> Importance::mean_squares() const {
  CHECK(!counts.empty() && sums.size() % counts.size() == 0);
  std::vector<float> out(sums.size(), 1.0f);
  const size_t cols = sums.size() / counts.size();
  for (size_t i = 0; i < sums.size(); ++i) {
    const float count = counts[i / cols];
    if (count > 0) out[i] = sums[i] / count;
  }
  return out;
}

Result<ImportanceMatrix> parse_importance(std::span<const std::byte> bytes) {
  if (bytes.size() > kMostBytes)
    return bad_input("{} bytes: no importance matrix is that large", bytes.size());
  Allowance allowance;
  FARTHING_TRY(const GgufImage image, parse_gguf(bytes, allowance));
  FARTHING_TRY(const auto type, image.metadata.string(kType));
  if (type.value_or("") != "imatrix")
    return bad_input("key '{}' isn't 'imatrix': not an importance matrix", kType);
  ImportanceMatrix out;
  FARTHING_TRY(const auto chunks, image.metadata.integer(kChunks, 0, kMostCount));
  FARTHING_TRY(const auto size, image.metadata.integer(kChunkSize, 0, kMostCount));
  FARTHING_TRY(auto texts, image.metadata.strings(kTexts));
  out.chunks = static_cast<uint32_t>(chunks.value_or(0));
  out.chunk_size = static_cast<uint32_t>(size.value_or(0));
  if (texts) out.texts = *std::move(texts);
  for (const TensorView& tensor : image.tensors) FARTHING_TRY_VOID(add(tensor, out));
  if (out.tensors.empty()) return bad_input("holds no sums (tensors that end in '{}')", kSums);
  for (const auto& [name, importance] : out.tensors) FARTHING_TRY_VOID(check(name, importance));
  return out;
}

Result<ImportanceMatrix> read_importance(const std::string& path) {
  FARTHING_TRY(const MappedFile file, MappedFile::open(path));
  auto matrix = parse_importance(file.bytes());
  if (!matrix) return std::move(matrix).error().in(printable(path, kMaxPathShown));
  return matrix;
}

Status write_importance(const ImportanceMatrix& matrix, const std::string& path) {
  const std::vector<GgufKey> keys = {gguf_key(std::string(kType), "imatrix"),
                                     gguf_key(std::string(kTexts), matrix.texts),
                                     gguf_key(std::string(kChunks), matrix.chunks),
                                     gguf_key(std::string(kChunkSize), matrix.chunk_size)};
  std::vector<GgufTensor> tensors;
  std::vector<std::span<const float>> numbers;
  const auto append = [&](std::string name, std::span<const float> values, int64_t n_matrices) {
    const auto cols = static_cast<int64_t>(values.size()) / n_matrices;
    tensors.push_back({std::move(name), DType::kF32, {cols, n_matrices, 1, 1}, 2});
    numbers.push_back(values);
  };
  for (const auto& [name, importance] : matrix.tensors) {
    append(name + std::string(kSums), importance.sums, importance.n_matrices());
    append(name + std::string(kCounts), importance.counts, importance.n_matrices());
  }
  FARTHING_TRY(GgufWriter writer, GgufWriter::create(path, keys, std::move(tensors)));
  for (const std::span<const float> values : numbers)
    FARTHING_TRY_VOID(writer.write(std::as_bytes(values)));
  return writer.finish();
}

}  // namespace farthing
