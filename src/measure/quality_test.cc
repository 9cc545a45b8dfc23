#include "measure/quality.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>

#include "base/mapped_file.h"
#include "measure/logits_file.h"
#include "model/forward_for_tests.h"

namespace farthing {
namespace {

using testing::must;

const std::string kToy = FARTHING_SOURCE_DIR "/tests/golden/model/llama-gqa.gguf";
constexpr int32_t kSize = 24;

float ln(double p) {
  return static_cast<float>(std::log(p));
}

// p = (1/2, 1/4, 1/4), q = (1/4, 1/4, 1/2): 1/2 ln 2 + 0 - 1/4 ln 2.
TEST(CompareRows, ByHand) {
  const std::vector<float> p = {ln(0.5) + 3, ln(0.25) + 3, ln(0.25) + 3};  // up to a constant
  const std::vector<float> q = {ln(0.25) - 1, ln(0.25) - 1, ln(0.5) - 1};
  const RowComparison row = compare_rows(p, q, 2);
  EXPECT_NEAR(row.kld, 0.25 * std::log(2.0), 1e-7);
  EXPECT_NEAR(row.nll_reference, std::log(4.0), 1e-6);
  EXPECT_NEAR(row.nll, std::log(2.0), 1e-6);
  EXPECT_FALSE(row.same_top);
  const RowComparison self = compare_rows(p, p, 0);
  EXPECT_EQ(self.kld, 0);
  EXPECT_TRUE(self.same_top);
}

TEST(CompareRows, WhatTheReferenceCallsImpossibleCostsNothing) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  const std::vector<float> p = {0, kNever, 0}, q = {0, 0, 0};
  EXPECT_NEAR(compare_rows(p, q, 0).kld, std::log(1.5), 1e-6);
  EXPECT_TRUE(std::isinf(compare_rows(q, p, 0).kld));  // but the other way it is infinitely wrong
}

TEST(Summarise, ByHand) {
  // Two rows: the likelihoods 1/2 and 1/8 of the model, 1/2 and 1/2 of the reference.
  const std::vector<RowComparison> rows = {
      {.nll_reference = std::log(2.0), .nll = std::log(2.0), .kld = 0.1, .same_top = true},
      {.nll_reference = std::log(2.0), .nll = std::log(8.0), .kld = 0.3, .same_top = false}};
  const Quality q = summarise(rows);
  EXPECT_NEAR(q.ppl.value, 4, 1e-12);
  EXPECT_NEAR(q.ppl_reference.value, 2, 1e-12);
  EXPECT_NEAR(q.ppl_ratio.value, 2, 1e-12);
  EXPECT_NEAR(q.ppl_reference.low, 2, 1e-12);  // no spread
  // The nlls are ln 2 and ln 8: their mean is off by ln(4) / 2.
  EXPECT_NEAR(q.ppl.high, 4 * std::exp(1.959964 * std::log(4.0) / 2), 1e-9);
  EXPECT_NEAR(q.kld_mean.value, 0.2, 1e-12);
  EXPECT_NEAR(q.kld_mean.high - q.kld_mean.value, 1.959964 * 0.1, 1e-12);
  EXPECT_EQ(q.kld_max, 0.3);
  EXPECT_EQ(q.top1_agreement.value, 0.5);
  EXPECT_NEAR(q.rms_dp.value, std::sqrt((0.375 * 0.375) / 2), 1e-12);
  EXPECT_NEAR(q.mean_dp.value, -0.375 / 2, 1e-12);
}

// Wilson's interval of 8 of 10 is 0.490 to 0.943.
TEST(Summarise, SharesAndQuantiles) {
  std::vector<RowComparison> rows(10);
  for (size_t i = 0; i < rows.size(); ++i)
    rows[i] = {.kld = static_cast<double>((i * 7) % 10), .same_top = i < 8};
  const Quality q = summarise(rows);
  EXPECT_NEAR(q.top1_agreement.low, 0.490, 5e-4);
  EXPECT_NEAR(q.top1_agreement.high, 0.943, 5e-4);
  EXPECT_EQ(q.kld_median.value, 5);
  EXPECT_EQ(q.kld_median.low, 1);
  EXPECT_EQ(q.kld_median.high, 9);
  EXPECT_EQ(q.kld_p99.value, 9);
  EXPECT_EQ(q.kld_max, 9);
}

// Of many experiments, 95 % of the intervals hold the truth.
TEST(Summarise, IntervalsCover) {
  std::mt19937 random(7);
  std::exponential_distribution<double> kld(1);  // mean 1, median ln 2
  std::bernoulli_distribution same(0.97);
  constexpr int kExperiments = 600;
  int mean = 0, median = 0, p99 = 0, top = 0;
  for (int e = 0; e < kExperiments; ++e) {
    std::vector<RowComparison> rows(1500);
    for (RowComparison& row : rows) row = {.kld = kld(random), .same_top = same(random)};
    const Quality q = summarise(rows);
    const auto holds = [](const Estimate& estimate, double truth) {
      return estimate.low <= truth && truth <= estimate.high ? 1 : 0;
    };
    mean += holds(q.kld_mean, 1);
    median += holds(q.kld_median, std::log(2.0));
    p99 += holds(q.kld_p99, std::log(100.0));
    top += holds(q.top1_agreement, 0.97);
  }
  for (const int hits : {mean, median, p99, top}) {
    EXPECT_GE(hits, kExperiments * 0.92);
    EXPECT_LE(hits, kExperiments * 0.98);
  }
}

class QualityOfToy : public ::testing::Test {
 protected:
  std::unique_ptr<Model> native_ = testing::open_model(kToy, WeightMode::kNative);
  std::vector<TokenId> tokens_ = [this] {
    std::mt19937 random(3);
    std::vector<TokenId> tokens(5 * kSize);
    for (TokenId& token : tokens)
      token = static_cast<TokenId>(random() % static_cast<uint32_t>(native_->spec.vocab_size));
    return tokens;
  }();
  Windows windows_{tokens_, kSize, -1, 0};

  WindowRunner runner(const Model& model) {
    RunnerOptions options{.n_threads = 2};
    options.decoder.max_tokens = 64;
    return must(WindowRunner::create(model, options, kSize));
  }
  std::vector<float> rows_of(WindowRunner& runner, int32_t window) {
    const auto vocab = static_cast<size_t>(native_->spec.vocab_size);
    std::vector<float> rows(static_cast<size_t>(windows_.n_scored()) * vocab);
    runner.run(windows_, window, [&](int32_t row, std::span<float> logits, TokenId) {
      std::copy_n(logits.begin(), vocab, rows.begin() + static_cast<ptrdiff_t>(row * vocab));
    });
    return rows;
  }
  Quality measure(const Model& model, const ReferenceRows& reference) {
    WindowRunner scorer = runner(model);
    int32_t n_shown = 0;
    const Quality q = must(
        measure_quality(compare_by(scorer, windows_, native_->spec.vocab_size),
                        windows_,
                        reference,
                        [&](int32_t n_done, const Quality&) { EXPECT_EQ(n_done, ++n_shown); }));
    EXPECT_EQ(n_shown, windows_.count());
    EXPECT_GT(scorer.tokens_per_second(), 0);
    return q;
  }
  ReferenceRows rows_by(WindowRunner& runner) {
    return [&](int32_t window) -> Result<std::span<const float>> {
      held_ = rows_of(runner, window);
      return std::span<const float>(held_);
    };
  }
  std::vector<float> held_;
};

TEST_F(QualityOfToy, ItselfLosesNothing) {
  WindowRunner reference = runner(*native_);
  const Quality q = measure(*native_, rows_by(reference));
  EXPECT_EQ(q.n_scored, windows_.count() * windows_.n_scored());
  EXPECT_EQ(q.kld_max, 0);
  EXPECT_EQ(q.top1_agreement.value, 1);
  EXPECT_EQ(q.ppl_ratio.value, 1);
  EXPECT_EQ(q.rms_dp.value, 0);
  // The perplexity is the other verb's.
  WindowRunner scorer = runner(*native_);
  const Perplexity p =
      must(measure_perplexity(scorer, windows_, [](int32_t, const Perplexity&) {}));
  EXPECT_NEAR(q.ppl.value / p.value, 1, 1e-12);
}

TEST_F(QualityOfToy, RoundedWeightsLoseALittle) {
  WindowRunner reference = runner(*native_);
  const auto int8 = testing::open_model(kToy, WeightMode::kInt8);
  const Quality q = measure(*int8, rows_by(reference));
  EXPECT_GT(q.kld_mean.value, 0);
  EXPECT_LT(q.kld_mean.value, 0.01);
  EXPECT_GT(q.top1_agreement.value, 0.9);
}

TEST_F(QualityOfToy, BrokenLogitsAreSaid) {
  WindowRunner scorer = runner(*native_);
  const std::vector<float> none(static_cast<size_t>(windows_.n_scored() * native_->spec.vocab_size),
                                std::numeric_limits<float>::quiet_NaN());
  const auto q = measure_quality(
      compare_by(scorer, windows_, native_->spec.vocab_size),
      windows_,
      [&](int32_t) -> Result<std::span<const float>> { return std::span<const float>(none); },
      [](int32_t, const Quality&) {});
  ASSERT_FALSE(q);
  EXPECT_NE(q.error().message.find("chunk 1"), std::string::npos);
}

TEST_F(QualityOfToy, ASavedReferenceSaysTheSame) {
  const std::string path = ::testing::TempDir() + "/quality_test." + std::to_string(getpid());
  WindowRunner reference = runner(*native_);
  {
    LogitsWriter dropped =
        must(LogitsWriter::create(path, "toy", windows_, native_->spec.vocab_size));
    ASSERT_TRUE(dropped.add(rows_of(reference, 0)));
  }
  EXPECT_FALSE(std::filesystem::exists(path));  // never half a file
  EXPECT_FALSE(std::filesystem::exists(path + ".part"));
  {
    LogitsWriter writer =
        must(LogitsWriter::create(path, "toy", windows_, native_->spec.vocab_size));
    for (int32_t i = 0; i < windows_.count(); ++i) ASSERT_TRUE(writer.add(rows_of(reference, i)));
    ASSERT_TRUE(writer.finish());
  }
  EXPECT_TRUE(LogitsFile::is_one(path));
  EXPECT_FALSE(LogitsFile::is_one(kToy));
  LogitsFile saved = must(LogitsFile::open(path));
  EXPECT_EQ(saved.description(), "toy");
  EXPECT_EQ(saved.vocab_size(), native_->spec.vocab_size);
  EXPECT_EQ(saved.tokens(2), windows_.at(2));
  const auto int8 = testing::open_model(kToy, WeightMode::kInt8);
  const Quality direct = measure(*int8, rows_by(reference));
  const Quality by_file = measure(
      *int8, [&](int32_t window) -> Result<std::span<const float>> { return saved.rows(window); });
  EXPECT_NEAR(by_file.kld_mean.value, direct.kld_mean.value, 1e-4);
  EXPECT_NEAR(by_file.ppl_reference.value / direct.ppl_reference.value, 1, 1e-3);

  // Damaged in every byte of its head, and cut short anywhere: an error or another file, no fault.
  const std::string whole = must(read_file(path, 64 << 20));
  const auto write = [&](const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  };
  for (size_t size = 0; size < whole.size(); size += 1 + whole.size() / 97) {
    write(whole.substr(0, size));
    EXPECT_FALSE(LogitsFile::open(path)) << size;
  }
  for (size_t i = 0; i < 44; ++i) {
    for (const char c : {'\0', '\x7f', '\xff'}) {
      std::string bytes = whole;
      bytes[i] = c;
      write(bytes);
      auto file = LogitsFile::open(path);
      if (!file) continue;
      for (const int32_t window : {0, file->n_windows() - 1}) {
        EXPECT_EQ(file->tokens(window).size(), static_cast<size_t>(file->window_size()));
        EXPECT_FALSE(file->rows(window).empty());
      }
    }
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace farthing
