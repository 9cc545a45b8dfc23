#include "measure/input_products.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "engine/loaded_model.h"
#include "measure/input_squares.h"

namespace farthing {
namespace {

const std::string kFolder = FARTHING_SOURCE_DIR "/tests/golden/model/";

TEST(AddProducts, IsTheUpperTriangleOfXTransposedX) {
  std::mt19937 random(1);
  std::uniform_int_distribution<int> whole(-8, 8);  // sums are exact
  for (const int64_t cols : {1, 5, 64, 67}) {
    constexpr int64_t kTokens = 9;
    std::vector<float> x(static_cast<size_t>(kTokens * cols));
    for (float& v : x) v = static_cast<float>(whole(random));
    for (const int n_threads : {1, 3}) {
      ThreadTeam team(n_threads);
      std::vector<float> sums(static_cast<size_t>(cols * cols), 1);
      add_products({x.data(), kTokens, cols}, team, {sums.data(), cols, cols});
      for (int64_t i = 0; i < cols; ++i) {
        for (int64_t j = i; j < cols; ++j) {
          float want = 1;
          for (int64_t t = 0; t < kTokens; ++t)
            want += x[static_cast<size_t>(t * cols + i)] * x[static_cast<size_t>(t * cols + j)];
          EXPECT_EQ(sums[static_cast<size_t>(i * cols + j)], want) << i << ' ' << j;
        }
      }
    }
  }
}

class Products : public ::testing::Test {
 protected:
  Products() {
    auto model = load_model(kFolder + "llama-gqa.gguf", {});
    EXPECT_TRUE(model) << model.error().message;
    model_ = *std::move(model);
    for (int32_t i = 0; i < 64; ++i)
      tokens_.push_back((i * 7919 + 13) % model_->model->spec.vocab_size);
    windows_.emplace(tokens_, 32, -1, 0);
  }

  InputProducts products(int64_t memory, int32_t n_threads = 2) {
    return {*model_->model, {.n_threads = n_threads}, *windows_, memory, [this](int32_t, int32_t) {
              return ++n_windows_ < stop_after_;
            }};
  }
  std::vector<float> values_of(InputProducts& products, const std::string& tensor) {
    const auto of = products.of(tensor);
    EXPECT_TRUE(of) << of.error().message;
    return {of->data, of->data + of->rows * of->cols};
  }

  std::unique_ptr<LoadedModel> model_;
  std::vector<TokenId> tokens_;
  std::optional<Windows> windows_;
  int n_windows_ = 0;
  int stop_after_ = 1000;
};

TEST_F(Products, TheDiagonalIsTheImportanceMatrix) {
  InputProducts made = products(int64_t{1} << 30);
  const auto squares =
      measure_importance(*model_->model, {.n_threads = 1}, *windows_, [](int32_t) { return true; });
  ASSERT_TRUE(squares);
  for (const auto& [tensor, importance] : squares->tensors) {
    if (!tensor.starts_with("blk.")) continue;
    const std::vector<float> values = values_of(made, tensor);
    const size_t cols = importance.sums.size();
    ASSERT_EQ(values.size(), cols * cols) << tensor;
    for (size_t i = 0; i < cols; ++i) {
      EXPECT_NEAR(values[i * cols + i], importance.sums[i], 1e-4 * importance.sums[i]) << tensor;
      for (size_t j = 0; j < i; ++j) {
        EXPECT_EQ(values[i * cols + j], values[j * cols + i]);
        EXPECT_LE(std::fabs(values[i * cols + j]),
                  1.001f * std::sqrt(importance.sums[i] * importance.sums[j]) + 1e-6f);
      }
    }
  }
  EXPECT_EQ(n_windows_, 2) << "one run for all layers";
}

TEST_F(Products, LittleMemoryMakesMoreRunsAndTheSameBits) {
  InputProducts all = products(int64_t{1} << 30, 1), few = products(1, 3);
  const auto n_layers = model_->model->spec.n_layers();
  for (int64_t i = 0; i < n_layers; ++i) {
    for (const char* name : {"attn_q", "attn_v", "attn_output", "ffn_up", "ffn_down"}) {
      const std::string tensor = fmt::format("blk.{}.{}.weight", i, name);
      EXPECT_EQ(values_of(all, tensor), values_of(few, tensor)) << tensor;
    }
  }
  EXPECT_EQ(n_windows_, 2 + 2 * n_layers);
}

TEST_F(Products, RefusesWhatTheModelDoesNotHave) {
  InputProducts made = products(int64_t{1} << 30);
  for (const char* tensor : {"blk.999.attn_q.weight", "blk.0.attn_qkv.weight", ""}) {
    const auto of = made.of(tensor);
    ASSERT_FALSE(of);
    EXPECT_EQ(of.error().kind, ErrorKind::kBadInput);
  }
  EXPECT_EQ(n_windows_, 0);
}

TEST_F(Products, Stops) {
  stop_after_ = 1;
  InputProducts made = products(int64_t{1} << 30);
  const auto of = made.of("blk.0.attn_q.weight");
  ASSERT_FALSE(of);
  EXPECT_EQ(of.error().kind, ErrorKind::kInterrupted);
}

}  // namespace
}  // namespace farthing
