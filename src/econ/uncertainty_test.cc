#include "econ/uncertainty.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>

namespace farthing {
namespace {

const Uncertain kPert{.name = "a", .low = 0, .value = 0.5, .high = 1, .shape = Shape::kPert};
const Uncertain kLognormal{
    .name = "b", .low = 1, .value = 10, .high = 100, .shape = Shape::kLognormal};

// PERT(0, 1/2, 1) is beta(3, 3): symmetric, so its median is 1/2, and its CDF at 1/4 is
// 10 x^3 - 15 x^4 + 6 x^5 = 0.103516.
TEST(Quantile, PertByHand) {
  EXPECT_NEAR(quantile(kPert, 0.5), 0.5, 1e-9);
  EXPECT_NEAR(quantile(kPert, 0.103515625), 0.25, 1e-9);
}

TEST(Quantile, LognormalByHand) {
  EXPECT_NEAR(quantile(kLognormal, 0.1), 1, 1e-9);
  EXPECT_NEAR(quantile(kLognormal, 0.5), 10, 1e-9);
  EXPECT_NEAR(quantile(kLognormal, 0.9), 100, 1e-7);
}

RC_GTEST_PROP(UncertaintyProperty, QuantilesRiseWithinTheBounds, ()) {
  const double low = *rc::gen::inRange(-1000, 1000), mode = low + *rc::gen::inRange(0, 1000);
  const Uncertain input{.name = "x",
                        .low = low,
                        .value = mode,
                        .high = mode + 1 + *rc::gen::inRange(0, 1000),
                        .shape = Shape::kPert};
  const double p = *rc::gen::inRange(1, 998) / 1000.0;
  const double at = quantile(input, p), above = quantile(input, p + 0.001);
  RC_ASSERT(input.low <= at && at <= above && above <= input.high);
}

// 3 a + b / 10: a swings by 3, b by 9.9.
TEST(Tornado, LargestSwingFirst) {
  const auto swings =
      tornado({kPert, {.name = "c", .value = 7}, kLognormal},
              [](const std::vector<double>& x) { return 3 * x[0] + x[1] + x[2] / 10; });
  ASSERT_EQ(swings.size(), 2u);  // what is fixed doesn't swing
  EXPECT_EQ(swings[0].input, 2u);
  EXPECT_NEAR(swings[0].at_low, 1.5 + 7 + 0.1, 1e-12);
  EXPECT_NEAR(swings[0].at_high, 1.5 + 7 + 10, 1e-12);
  EXPECT_EQ(swings[1].input, 0u);
}

std::vector<double> column(const std::vector<std::vector<double>>& draws, size_t i) {
  std::vector<double> out;
  for (const auto& draw : draws) out.push_back(draw[i]);
  return out;
}

TEST(Draws, SameSeedSameBytes) {
  const auto a = draw_inputs({kPert, kLognormal}, {}, 1000, 7),
             b = draw_inputs({kPert, kLognormal}, {}, 1000, 7);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(*a, *b);
  EXPECT_NE(*a, *draw_inputs({kPert, kLognormal}, {}, 1000, 8));
  // More draws begin with the same ones.
  const auto more = draw_inputs({kPert, kLognormal}, {}, 2000, 7);
  EXPECT_TRUE(std::equal(a->begin(), a->end(), more->begin()));
}

TEST(Draws, FollowTheirDistributions) {
  const auto draws = *draw_inputs({kPert, kLognormal}, {}, 20000, 1);
  std::vector<double> a = column(draws, 0), b = column(draws, 1);
  EXPECT_LT(std::abs(rank_correlation(a, b)), 0.03);
  double mean = 0;
  for (const double x : a) mean += x / 20000;
  EXPECT_NEAR(mean, 0.5, 0.01);  // (low + 4 mode + high) / 6
  std::ranges::sort(a);
  std::ranges::sort(b);
  for (const double p : {5.0, 25.0, 50.0, 75.0, 95.0}) {
    EXPECT_NEAR(percentile(a, p), quantile(kPert, p / 100), 0.01) << p;
    EXPECT_NEAR(std::log(percentile(b, p)), std::log(quantile(kLognormal, p / 100)), 0.08) << p;
  }
}

TEST(Draws, HaveTheRankCorrelationAskedFor) {
  for (const double rank : {-0.9, -0.3, 0.6}) {
    const auto draws = *draw_inputs({kPert, kLognormal}, {{0, 1, rank}}, 20000, 3);
    EXPECT_NEAR(rank_correlation(column(draws, 0), column(draws, 1)), rank, 0.02);
  }
}

TEST(Draws, ContradictingCorrelationsAreRefused) {
  const std::vector<Uncertain> three = {kPert, kPert, kPert};
  EXPECT_FALSE(draw_inputs(three, {{0, 1, 0.9}, {1, 2, 0.9}, {0, 2, -0.9}}, 10, 1));
  EXPECT_FALSE(draw_inputs(three, {{0, 0, 0.5}}, 10, 1));
  EXPECT_FALSE(draw_inputs(three, {{0, 1, NAN}}, 10, 1));
  EXPECT_TRUE(draw_inputs(three, {{0, 1, 0.9}, {1, 2, 0.9}, {0, 2, 0.9}}, 10, 1));
}

TEST(Percentile, ByHand) {
  const std::vector<double> sorted = {1, 2, 4, 8};
  EXPECT_DOUBLE_EQ(percentile(sorted, 0), 1);
  EXPECT_DOUBLE_EQ(percentile(sorted, 50), 3);
  EXPECT_DOUBLE_EQ(percentile(sorted, 100), 8);
  EXPECT_DOUBLE_EQ(percentile({5}, 90), 5);
}

TEST(RankCorrelation, ByHand) {
  EXPECT_DOUBLE_EQ(rank_correlation({1, 5, 9}, {2, 3, 1000}), 1);
  EXPECT_DOUBLE_EQ(rank_correlation({1, 5, 9}, {2, 1, 0}), -1);
  EXPECT_DOUBLE_EQ(rank_correlation({1, 2, 3}, {2, 1, 3}), 0.5);
}

}  // namespace
}  // namespace farthing
