#include "measure/input_squares.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "engine/loaded_model.h"
#include "measure/windows.h"

namespace farthing {
namespace {

const std::string kFolder = FARTHING_SOURCE_DIR "/tests/golden/model/";

std::vector<TokenId> some_tokens(int32_t n, int32_t vocab) {
  std::vector<TokenId> tokens;
  for (int32_t i = 0; i < n; ++i) tokens.push_back((i * 7919 + 13) % vocab);
  return tokens;
}

struct Measured {
  ImportanceMatrix matrix;
  std::unique_ptr<LoadedModel> model;
};

Measured measure(const std::string& name, int32_t chunk, int32_t n_threads, int32_t n_windows = 2) {
  auto model = load_model(kFolder + name, {});
  EXPECT_TRUE(model) << model.error().message;
  const auto tokens = some_tokens(32 * n_windows, (*model)->model->spec.vocab_size);
  const Windows windows(tokens, 32, -1, 0);
  RunnerOptions options{.n_threads = n_threads};
  options.decoder.max_tokens = chunk;
  auto matrix =
      measure_importance(*(*model)->model, options, windows, [](int32_t) { return true; });
  EXPECT_TRUE(matrix) << matrix.error().message;
  return {*std::move(matrix), *std::move(model)};
}

TEST(InputSquares, EveryMatrixIsSeenOncePerToken) {
  for (const char* name : {"llama-plain.gguf", "gemma3.gguf", "llama-tied.gguf"}) {
    const Measured m = measure(name, 16, 2);
    const Model& model = *m.model->model;
    EXPECT_EQ(m.matrix.tensors.size(), static_cast<size_t>(model.spec.n_layers()) * 7 + 1);
    EXPECT_EQ(m.matrix.chunks, 2u);
    EXPECT_EQ(m.matrix.chunk_size, 32u);
    for (const auto& [tensor, importance] : m.matrix.tensors) {
      const TensorView* view = model.file.find(tensor);
      ASSERT_NE(view, nullptr) << tensor;
      EXPECT_EQ(static_cast<int64_t>(importance.sums.size()), view->cols()) << tensor;
      // The last token of a window predicts nothing; the head's inputs are those that are scored.
      const bool head = !tensor.starts_with("blk.");
      EXPECT_EQ(importance.counts, std::vector<float>{head ? 2 * 15.0f : 2 * 31.0f}) << tensor;
      double sum = 0;
      for (const float s : importance.sums) sum += s;
      EXPECT_GT(sum, 0) << tensor;
    }
    // What one job computes from one input has the same sums.
    EXPECT_EQ(m.matrix.tensors.at("blk.1.attn_q.weight").sums,
              m.matrix.tensors.at("blk.1.attn_v.weight").sums);
    EXPECT_EQ(m.matrix.tensors.at("blk.1.ffn_gate.weight").sums,
              m.matrix.tensors.at("blk.1.ffn_up.weight").sums);
    EXPECT_NE(m.matrix.tensors.at("blk.1.ffn_gate.weight").sums,
              m.matrix.tensors.at("blk.0.ffn_gate.weight").sums);
  }
}

TEST(InputSquares, TheFirstLayersInputIsTheNormedEmbedding) {
  const Measured m = measure("llama-plain.gguf", 16, 1);
  const Model& model = *m.model->model;
  const TensorView& table = *model.file.find("token_embd.weight");
  const TensorView& norm = *model.file.find("blk.0.attn_norm.weight");
  const int64_t d = table.cols();
  std::vector<float> gain(static_cast<size_t>(d)), row(static_cast<size_t>(d));
  format_of(norm.type).decode(norm.bytes.data(), gain.data(), d);
  std::vector<double> want(static_cast<size_t>(d));
  const auto tokens = some_tokens(64, model.spec.vocab_size);
  for (size_t t = 0; t < tokens.size(); ++t) {
    if (t % 32 == 31) continue;
    format_of(table.type).decode(table.row(tokens[t]), row.data(), d);
    double squares = 0;
    for (const float v : row) squares += double{v} * v;
    const double inverse = 1 / std::sqrt(squares / static_cast<double>(d) + model.spec.rms_eps);
    for (size_t c = 0; c < row.size(); ++c) want[c] += std::pow(row[c] * inverse * gain[c], 2);
  }
  const auto& got = m.matrix.tensors.at("blk.0.attn_q.weight").sums;
  for (size_t c = 0; c < want.size(); ++c) EXPECT_NEAR(got[c], want[c], 1e-4 * want[c]) << c;
}

TEST(InputSquares, StepsAndThreadsChangeNothing) {
  const Measured one = measure("llama-q8.gguf", 32, 1);
  for (const auto& [chunk, threads] : {std::pair{32, 3}, {7, 2}, {1, 1}}) {
    const Measured other = measure("llama-q8.gguf", chunk, threads);
    for (const auto& [tensor, importance] : one.matrix.tensors)
      EXPECT_EQ(importance.sums, other.matrix.tensors.at(tensor).sums) << tensor;
  }
}

TEST(InputSquares, WhoLooksOnChangesNothing) {
  auto model = load_model(kFolder + "llama-plain.gguf", {});
  ASSERT_TRUE(model);
  const auto tokens = some_tokens(32, (*model)->model->spec.vocab_size);
  const auto logits_of = [&](const InputObserver* observer) {
    RunnerOptions options{.n_threads = 2, .n_blocks = 1, .observer = observer};
    options.decoder.max_logits = 32;
    auto runner = Runner::create(*(*model)->model, options);
    EXPECT_TRUE(runner);
    Sequence sequence{.tokens = tokens};
    sequence.blocks.push_back(BlockId{0});
    const Batch batch{{Slice{.sequence = &sequence, .first = 0, .count = 32, .n_logits = 32}}};
    const Matrix<float> all = (*runner)->forward(batch).all;
    std::vector<float> out;
    for (int64_t r = 0; r < all.rows; ++r) out.insert(out.end(), all.row(r), all.row(r) + all.cols);
    return out;
  };
  int64_t calls = 0;
  const InputObserver observer = [&](const WeightMatrix&, Matrix<const float>) { ++calls; };
  const auto with = logits_of(&observer), without = logits_of(nullptr);
  ASSERT_EQ(with.size(), without.size());
  EXPECT_EQ(std::memcmp(with.data(), without.data(), with.size() * sizeof(float)), 0);
  EXPECT_EQ(calls, (*model)->model->spec.n_layers() * 7 + 1);
}

TEST(InputSquares, Stops) {
  auto model = load_model(kFolder + "llama-plain.gguf", {});
  const auto tokens = some_tokens(96, (*model)->model->spec.vocab_size);
  int32_t windows_done = 0;
  const auto matrix = measure_importance(
      *(*model)->model, {.n_threads = 1}, Windows(tokens, 32, -1, 0), [&](int32_t n) {
        windows_done = n;
        return n < 2;
      });
  ASSERT_FALSE(matrix);
  EXPECT_EQ(matrix.error().kind, ErrorKind::kInterrupted);
  EXPECT_EQ(windows_done, 2);
}

}  // namespace
}  // namespace farthing
