#include "econ/market.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

#include "econ/human.h"

namespace farthing {
namespace {

// 2x in 7 years: 2^(1/7) = 1.10409. 157.5x: 106 %.
TEST(YearlyGrowth, ByHand) {
  EXPECT_NEAR(yearly_growth(2, 7), 0.10409, 1e-5);
  EXPECT_NEAR(yearly_growth(157.5, 7), 1.060142, 1e-6);
  EXPECT_NEAR(yearly_growth(0.25, 2), -0.5, 1e-12);
}

// A tenth of the price, ten times the quantity: -1, and spend stays.
TEST(Elasticity, ByHand) {
  EXPECT_NEAR(elasticity(0.1, 10), -1, 1e-12);
  EXPECT_NEAR(elasticity(0.5, 4), -2, 1e-12);
  EXPECT_NEAR(demand_factor(0.5, -2), 4, 1e-12);
  EXPECT_NEAR(spend_factor(0.5, -2), 2, 1e-12);
  EXPECT_NEAR(spend_factor(0.01, -1), 1, 1e-12);
  EXPECT_NEAR(needed_quantity_factor(0.14, 157.5), 1125, 1e-9);
}

RC_GTEST_PROP(MarketProperty, ElasticityUndoesDemand, ()) {
  const double price = (1 + *rc::gen::inRange(0, 98)) / 100.0;
  const double e = -*rc::gen::inRange(1, 400) / 100.0;
  RC_ASSERT(std::abs(elasticity(price, demand_factor(price, e)) - e) < 1e-9);
  // As prices fall, spend grows exactly if demand is elastic.
  RC_ASSERT((spend_factor(price, e) > 1 + 1e-12) == (e < -1));
}

RC_GTEST_PROP(MarketProperty, GrowthCompounds, ()) {
  const double factor = *rc::gen::inRange(1, 100000) / 100.0, n = *rc::gen::inRange(1, 20);
  RC_ASSERT(std::abs(std::pow(1 + yearly_growth(factor, n), n) / factor - 1) < 1e-9);
}

TEST(PricePath, ByHand) {
  const auto points = price_points(
      {.start_year = 2025, .price = 8, .factor = 2, .factor_low = 1, .factor_high = 4}, 2027);
  ASSERT_EQ(points.size(), 3u);
  EXPECT_EQ(points[2].year, 2027);
  EXPECT_DOUBLE_EQ(points[2].price, 2);
  EXPECT_DOUBLE_EQ(points[2].low, 0.5);
  EXPECT_DOUBLE_EQ(points[2].high, 8);
  // From the middle of a year on to the whole ones.
  const auto middle = price_points(
      {.start_year = 2025.5, .price = 8, .factor = 4, .factor_low = 4, .factor_high = 4}, 2026);
  ASSERT_EQ(middle.size(), 2u);
  EXPECT_NEAR(middle[1].price, 4, 1e-12);
}

// ln of 8, 2, 1 (2.0794, 0.6931, 0) over 0, 1, 2: slope -1.0397, mean 0.9242; residuals 0.1155,
// -0.2310, 0.1155, so s = 0.2829, over sqrt(2) 0.2001; t(1; 0.975) = 12.706: half = 2.5420.
TEST(PricePath, FitByHand) {
  const auto path = fit_path({{2020, 8}, {2021, 2}, {2022, 1}});
  ASSERT_TRUE(path);
  EXPECT_EQ(path->start_year, 2022);
  EXPECT_NEAR(path->price, std::exp(0.92420 - 1.03972), 1e-4);
  EXPECT_NEAR(std::log(path->factor), 1.03972, 1e-5);
  EXPECT_NEAR(std::log(path->factor_high) - std::log(path->factor), 2.5420, 1e-3);
  EXPECT_NEAR(std::log(path->factor) - std::log(path->factor_low), 2.5420, 1e-3);
}

TEST(PricePath, FitOfAnExactPathHasNoBounds) {
  const auto path = fit_path({{2020, 27}, {2021, 9}, {2023, 1}});
  ASSERT_TRUE(path);
  EXPECT_NEAR(path->factor, 3, 1e-9);
  EXPECT_NEAR(path->factor_low, 3, 1e-6);
  EXPECT_NEAR(path->price, 1, 1e-9);
  EXPECT_FALSE(fit_path({{2020, 1}, {2021, 1}}));
  EXPECT_FALSE(fit_path({{2020, 1}, {2020, 2}, {2020, 3}}));
}

HumanWork person() {
  return {.salary = Money{8800} / People{1} / days(30),
          .queries = Requests{50} / People{1} / days(1),
          .working_days = 22.0 / 30};
}

// 8,800 over 50 queries on 22 days: 8. A machine at 0.10, review 0.50, 80 % right, 25 % passed on:
// 60 % resolved; 0.10 + 0.50 + 8 * 0.4 = 3.80 to the end, so 2.105 times cheaper and not 80 times.
TEST(HumanEquivalent, ByHand) {
  EXPECT_NEAR(cost_per_query(person()).value, 8, 1e-12);
  const auto e = human_equivalent(person(),
                                  {.queries = Requests{10000} / days(1),
                                   .cost = Money{0.1} / Requests{1},
                                   .review = Money{0.5} / Requests{1},
                                   .acceptance = 0.8,
                                   .escalation = 0.25});
  ASSERT_TRUE(e);
  EXPECT_NEAR(e->throughput_ratio, 200, 1e-9);
  EXPECT_NEAR(e->quality, 0.6, 1e-12);
  EXPECT_NEAR(e->replaced.value, 10000 * 0.6 / (50 * 22.0 / 30), 1e-9);
  EXPECT_NEAR(e->naive_cost_ratio, 80, 1e-9);
  EXPECT_NEAR(e->resolved_cost.value, 3.8, 1e-12);
  EXPECT_NEAR(e->cost_ratio, 8 / 3.8, 1e-12);
}

TEST(HumanEquivalent, SaysWhichFigureCannotBe) {
  const MachineWork good{.queries = Requests{1} / days(1), .cost = Money{1} / Requests{1}};
  EXPECT_TRUE(human_equivalent(person(), good));
  MachineWork bad = good;
  bad.acceptance = 1.5;
  EXPECT_NE(human_equivalent(person(), bad).error().message.find("acceptance"), std::string::npos);
  HumanWork nobody = person();
  nobody.queries = {};
  EXPECT_FALSE(human_equivalent(nobody, good));
}

// The better the answers, the less a resolved query costs, down to what the machine itself costs.
RC_GTEST_PROP(HumanProperty, QualityPays, ()) {
  MachineWork work{.queries = Requests{1} / days(1), .cost = Money{0.1} / Requests{1}};
  work.acceptance = *rc::gen::inRange(0, 100) / 100.0;
  work.escalation = *rc::gen::inRange(0, 101) / 100.0;
  const HumanEquivalent before = *human_equivalent(person(), work);
  work.acceptance += 0.01;
  RC_ASSERT(human_equivalent(person(), work)->resolved_cost <= before.resolved_cost);
  work.acceptance = 1;
  work.escalation = 0;
  RC_ASSERT(human_equivalent(person(), work)->resolved_cost == work.cost);
}

}  // namespace
}  // namespace farthing
