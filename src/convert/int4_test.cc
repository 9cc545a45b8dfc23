#include "convert/int4.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "base/half.h"

namespace farthing {
namespace {

using ::testing::HasSubstr;

std::vector<float> bell_values(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> bell(0, 0.05f);
  std::vector<float> out(static_cast<size_t>(n));
  for (float& v : out) v = bell(random);
  return out;
}

// Inputs [n][cols] that hang together: a few common causes, and a little of each one's own.
std::vector<float> linked_inputs(int64_t n, int64_t cols, unsigned seed) {
  constexpr int64_t kCauses = 6;
  std::mt19937 random(seed);
  std::normal_distribution<float> bell(0, 1);
  std::vector<float> mixing(static_cast<size_t>(kCauses * cols));
  for (float& v : mixing) v = bell(random);
  std::vector<float> out;
  for (int64_t t = 0; t < n; ++t) {
    float causes[kCauses];
    for (float& v : causes) v = bell(random);
    for (int64_t c = 0; c < cols; ++c) {
      float x = 0.3f * bell(random);
      for (int64_t k = 0; k < kCauses; ++k)
        x += causes[k] * mixing[static_cast<size_t>(k * cols + c)];
      out.push_back(x);
    }
  }
  return out;
}

std::vector<float> products_of(const std::vector<float>& x, int64_t cols) {
  std::vector<float> out(static_cast<size_t>(cols * cols));
  const int64_t n = static_cast<int64_t>(x.size()) / cols;
  for (int64_t t = 0; t < n; ++t) {
    for (int64_t i = 0; i < cols; ++i) {
      for (int64_t j = 0; j < cols; ++j)
        out[static_cast<size_t>(i * cols + j)] +=
            x[static_cast<size_t>(t * cols + i)] * x[static_cast<size_t>(t * cols + j)];
    }
  }
  return out;
}

// Of the outputs, sum (W x - V x)^2, over inputs [n][cols].
double output_error(Matrix<const float> w, const Int4Matrix& q, const std::vector<float>& x) {
  double error = 0;
  for (size_t t = 0; t < x.size(); t += static_cast<size_t>(w.cols)) {
    for (int64_t r = 0; r < w.rows; ++r) {
      double d = 0;
      for (int64_t c = 0; c < w.cols; ++c)
        d += (double{w.row(r)[c]} - q.value(r, c)) * x[t + static_cast<size_t>(c)];
      error += d * d;
    }
  }
  return error;
}

double squared_error(Matrix<const float> w, const Int4Matrix& q) {
  double error = 0;
  for (int64_t r = 0; r < w.rows; ++r) {
    for (int64_t c = 0; c < w.cols; ++c) error += std::pow(w.row(r)[c] - q.value(r, c), 2);
  }
  return error;
}

TEST(Int4, AGridIsReproduced) {
  ThreadTeam team(1);
  for (const int64_t group : {32, 64, 128}) {
    // Two rows of scale * (q - zero), every q used.
    const int64_t cols = 256;
    std::vector<float> values;
    for (int64_t r = 0; r < 2; ++r) {
      for (int64_t c = 0; c < cols; ++c)
        values.push_back(f16_to_f32(f32_to_f16(0.013f * static_cast<float>(1 + r + c / group))) *
                         static_cast<float>(c * 7 % 16 - (r == 0 ? 8 : 3)));
    }
    const Matrix<const float> w(values.data(), 2, cols);
    for (const Int4Method method : {Int4Method::kNearest, Int4Method::kFit}) {
      const auto made = quantize_int4(w, group, method, {}, team);
      ASSERT_TRUE(made) << made.error().message;
      for (int64_t r = 0; r < 2; ++r) {
        for (int64_t c = 0; c < cols; ++c) EXPECT_EQ(made->value(r, c), w.row(r)[c]) << group;
      }
    }
  }
}

TEST(Int4, EachMethodIsTheBetterForWhatItKnows) {
  ThreadTeam team(2);
  constexpr int64_t kRows = 24, kCols = 256;
  const std::vector<float> values = bell_values(kRows * kCols, 3);
  const Matrix<const float> w(values.data(), kRows, kCols);
  const std::vector<float> seen = linked_inputs(600, kCols, 4);
  const std::vector<float> products = products_of(seen, kCols);
  for (const int64_t group : {32, 128}) {
    const auto made = [&](Int4Method method, const Int4Inputs& inputs) {
      auto out = quantize_int4(w, group, method, inputs, team);
      EXPECT_TRUE(out);
      return *std::move(out);
    };
    const Int4Matrix nearest = made(Int4Method::kNearest, {});
    const Int4Matrix fit = made(Int4Method::kFit, {});
    const Int4Matrix feedback =
        made(Int4Method::kFeedback, {.products = {products.data(), kCols, kCols}});
    EXPECT_LT(squared_error(w, fit), 0.95 * squared_error(w, nearest)) << group;
    EXPECT_LT(output_error(w, feedback, seen), 0.5 * output_error(w, fit, seen)) << group;
  }
}

// Without correlations there is nothing to make up with: only the scales are left.
TEST(Int4, FeedbackOfInputsThatHaveNothingInCommonIsFit) {
  ThreadTeam team(1);
  constexpr int64_t kRows = 5, kCols = 128;
  const std::vector<float> values = bell_values(kRows * kCols, 5);
  const Matrix<const float> w(values.data(), kRows, kCols);
  std::vector<float> products(kCols * kCols), weights(kCols);
  for (int64_t c = 0; c < kCols; ++c)
    products[static_cast<size_t>(c * kCols + c)] = weights[static_cast<size_t>(c)] =
        1 + static_cast<float>(c * 13 % 7);
  const auto fit = quantize_int4(w, 32, Int4Method::kFit, {.weights = weights}, team);
  const auto feedback = quantize_int4(
      w, 32, Int4Method::kFeedback, {.products = {products.data(), kCols, kCols}}, team);
  ASSERT_TRUE(fit && feedback);
  EXPECT_EQ(fit->q, feedback->q);
  EXPECT_EQ(fit->scale, feedback->scale);
}

TEST(Int4, ThreadsChangeNothing) {
  constexpr int64_t kRows = 35, kCols = 192;
  const std::vector<float> values = bell_values(kRows * kCols, 6);
  const Matrix<const float> w(values.data(), kRows, kCols);
  const std::vector<float> products = products_of(linked_inputs(100, kCols, 7), kCols);
  std::vector<Int4Matrix> made;
  for (const int n : {1, 2, 5}) {
    ThreadTeam team(n);
    auto out = quantize_int4(
        w, 64, Int4Method::kFeedback, {.products = {products.data(), kCols, kCols}}, team);
    ASSERT_TRUE(out);
    made.push_back(*std::move(out));
  }
  for (const Int4Matrix& m : made) {
    EXPECT_EQ(m.q, made[0].q);
    EXPECT_EQ(m.scale, made[0].scale);
    EXPECT_EQ(m.zero, made[0].zero);
  }
}

TEST(Int4, WhatIsZeroOrUnusedStaysFinite) {
  ThreadTeam team(1);
  std::vector<float> values(2 * 64);  // a row of nothing, and a row of one value
  for (size_t i = 64; i < 128; ++i) values[i] = -0.25f;
  const Matrix<const float> w(values.data(), 2, 64);
  const std::vector<float> products(64 * 64);  // inputs that were never there
  for (const Int4Method method : {Int4Method::kNearest, Int4Method::kFit, Int4Method::kFeedback}) {
    const auto made = quantize_int4(w, 64, method, {.products = {products.data(), 64, 64}}, team);
    ASSERT_TRUE(made);
    for (int64_t c = 0; c < 64; ++c) {
      EXPECT_EQ(made->value(0, c), 0);
      EXPECT_NEAR(made->value(1, c), -0.25f, 2e-4) << static_cast<int>(method);
    }
  }
}

TEST(Int4, RefusesWhatIsNoWeight) {
  ThreadTeam team(2);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e6f}) {
    std::vector<float> values = bell_values(4 * 32, 8);
    values[2 * 32 + 5] = values[3 * 32] = bad;
    const auto made = quantize_int4({values.data(), 4, 32}, 32, Int4Method::kFit, {}, team);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().kind, ErrorKind::kBadInput);
    EXPECT_THAT(made.error().message, HasSubstr("row 2"));
  }
}

}  // namespace
}  // namespace farthing
