#include "econ/finance.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

namespace farthing {
namespace {

// The chapter's example, rightly reckoned: 500,000 invested, 648,000 a year saved, at 10 %.
Project example(double horizon_years) {
  return {.investment = Money{500000},
          .benefit = per_year(Money{648000}),
          .horizon = years(horizon_years),
          .discount_rate = 0.1};
}

Returns returns(const Project& project) {
  const auto result = returns_of(project);
  EXPECT_TRUE(result) << result.error().message;
  return result ? *result : Returns{};
}

// 0.08 * 1.08^5 / (1.08^5 - 1) = 0.08 * 1.469328 / 0.469328 = 0.250456.
TEST(CapitalRecovery, ByHand) {
  EXPECT_NEAR(capital_recovery_factor(0.08, 5), 0.2504565, 1e-7);
  EXPECT_DOUBLE_EQ(capital_recovery_factor(0, 4), 0.25);
}

// Without a jump where rates are so small that the closed form loses its digits.
TEST(CapitalRecovery, SmallRatesGoOverIntoNone) {
  for (const double rate : {1e-15, 1e-12, 1e-10, 1e-8, 1e-6})
    EXPECT_NEAR(capital_recovery_factor(rate, 5), 0.2 * (1 + 3 * rate), 1e-12) << rate;
}

// -500000 + 648000 / 1.1 = 89,090.91; with 648000 / 1.21 and 648000 / 1.331: 1,111,480.09.
TEST(Npv, ByHand) {
  EXPECT_NEAR(returns(example(1)).npv.value, 89090.91, 0.01);
  EXPECT_NEAR(returns(example(3)).npv.value, 1111480.09, 0.01);
  EXPECT_NEAR(returns(example(5)).npv.value, 1956429.82, 0.01);
  Project run = example(3);
  run.running = per_year(Money{150000});
  EXPECT_NEAR(returns(run).npv.value, 738452.29, 0.01);
}

// 100 now, 60 and 72 after one and two years: 60/1.2 + 72/1.44 = 100, so 20 %.
TEST(Irr, ByHand) {
  EXPECT_NEAR(*irr({{0, Money{-100}}, {1, Money{60}}, {2, Money{72}}}), 0.2, 1e-9);
  EXPECT_NEAR(*returns(example(3)).irr, 1.168992, 1e-6);
  // Half of it comes back after a year: -50 %.
  EXPECT_NEAR(*irr({{0, Money{-100}}, {1, Money{50}}}), -0.5, 1e-9);
}

TEST(Irr, OnlyWhereThereIsOne) {
  EXPECT_FALSE(irr({{0, Money{-100}}, {1, Money{-1}}}));
  EXPECT_FALSE(irr({{0, Money{100}}, {1, Money{1}}}));
  // 10 % and 20 % both make this 0: it has two.
  EXPECT_FALSE(irr({{0, Money{-100}}, {1, Money{230}}, {2, Money{-132}}}));
  EXPECT_FALSE(irr({}));
}

// 500,000 at 54,000 a month: 9.259 months; with two months to build it, 11.259.
TEST(Payback, ByHand) {
  Project project = example(3);
  EXPECT_NEAR(in_months(*returns(project).payback), 500.0 / 54, 1e-9);
  project.build = months(2);
  EXPECT_NEAR(in_months(*returns(project).payback), 500.0 / 54 + 2, 1e-9);
  // Year 1 is worth 589,090.91 at its end: 500 / 589.09 of it.
  EXPECT_NEAR(in_years(*returns(example(3)).discounted_payback), 500000 / 589090.909, 1e-8);
}

TEST(Payback, SpansYears) {
  // 100 a year of 250: in the middle of the third.
  const Project project{
      .investment = Money{250}, .benefit = per_year(Money{100}), .horizon = years(4)};
  EXPECT_NEAR(in_years(*returns(project).payback), 2.5, 1e-12);
}

TEST(Payback, NotWithinTheHorizon) {
  Project project = example(0.5);
  EXPECT_FALSE(returns(project).payback);
  project = example(3);
  project.running = per_year(Money{700000});
  EXPECT_FALSE(returns(project).payback);
  EXPECT_LT(*returns(project).roi, -1);
}

// (648 - 500) / 500 = 29.6 %; with 150 to run it -0.4 %.
TEST(Roi, ByHand) {
  EXPECT_NEAR(*returns(example(1)).roi, 0.296, 1e-12);
  Project run = example(1);
  run.running = per_year(Money{150000});
  EXPECT_NEAR(*returns(run).roi, -0.004, 1e-12);
  // 589,090.91 of benefits by 500,000 + 136,363.64 of costs.
  EXPECT_NEAR(*returns(run).bcr, 589090.909 / 636363.636, 1e-9);
  Project free;
  free.horizon = years(1);
  EXPECT_FALSE(returns(free).roi);
  EXPECT_FALSE(returns(free).bcr);
}

// 100 in the first year, 110 in the second, half of 121 in the third.
TEST(Growth, ByHand) {
  const Project project{.benefit = per_year(Money{100}), .growth = 0.1, .horizon = years(2.5)};
  EXPECT_NEAR(returns(project).benefit.value, 100 + 110 + 60.5, 1e-9);
}

TEST(Returns, SayWhichFigureCannotBe) {
  const auto fault = [](Project project) {
    const auto result = returns_of(project);
    return result ? std::string() : result.error().message;
  };
  const auto has = [](const std::string& text, const char* part) {
    return text.find(part) != text.npos;
  };
  EXPECT_TRUE(has(fault({.investment = Money{-1}, .horizon = years(1)}), "investment"));
  EXPECT_TRUE(has(fault({.horizon = Seconds{}}), "horizon"));
  EXPECT_TRUE(has(fault({.horizon = years(1e9)}), "horizon"));
  EXPECT_TRUE(has(fault({.horizon = years(1), .discount_rate = -0.5}), "discount_rate"));
  EXPECT_TRUE(has(fault({.running = per_year(Money{NAN}), .horizon = years(1)}), "running"));
  EXPECT_TRUE(has(fault({.benefit = per_year(Money{1e300}), .growth = 99, .horizon = years(100)}),
                  "benefit"));
}

TEST(Solve, FindsWhereItTurns) {
  EXPECT_NEAR(*solve([](double x) { return x * x - 2; }, 0, 2), std::sqrt(2), 1e-12);
  EXPECT_FALSE(solve([](double x) { return x * x + 1; }, -1, 1));
  EXPECT_FALSE(solve([](double) { return NAN; }, -1, 1));
}

// Any project with sums of ordinary size.
Project any_project() {
  const auto amount = [](int most) { return *rc::gen::inRange(0, most); };
  return {.investment = Money{1.0 + amount(1000000)},
          .benefit = per_year(Money{1.0 * amount(1000000)}),
          .running = per_year(Money{1.0 * amount(100000)}),
          .growth = amount(50) / 100.0,
          .build = months(amount(24)),
          .horizon = years((1 + amount(200)) / 10.0),
          .discount_rate = amount(40) / 100.0};
}

RC_GTEST_PROP(FinanceProperty, MoreBenefitIsNeverWorse, ()) {
  Project project = any_project();
  const Returns before = *returns_of(project);
  project.benefit += per_year(Money{1.0 + *rc::gen::inRange(0, 100000)});
  const Returns after = *returns_of(project);
  RC_ASSERT(after.npv >= before.npv);
  RC_ASSERT(*after.roi >= *before.roi);
  if (before.payback) RC_ASSERT(after.payback && *after.payback <= *before.payback);
}

RC_GTEST_PROP(FinanceProperty, MoreInvestmentIsNeverBetter, ()) {
  Project project = any_project();
  const Returns before = *returns_of(project);
  project.investment += Money{1.0 + *rc::gen::inRange(0, 100000)};
  const Returns after = *returns_of(project);
  RC_ASSERT(after.npv < before.npv);
  // A loss spread over more money is a smaller part of it, so only of what pays.
  if (before.benefit >= before.running) RC_ASSERT(*after.roi <= *before.roi);
}

// NPV is what flows add up to: at no interest, benefit less cost less investment.
RC_GTEST_PROP(FinanceProperty, NothingIsLost, ()) {
  Project project = any_project();
  project.discount_rate = 0;
  const Returns r = *returns_of(project);
  const Money sum = r.benefit - r.running - project.investment;
  RC_ASSERT(std::abs((r.npv - sum).value) <= 1e-6 * (1 + std::abs(r.benefit.value)));
  RC_ASSERT(std::abs((npv(flows_of(project), 0) - sum).value) <=
            1e-6 * (1 + std::abs(r.benefit.value)));
}

RC_GTEST_PROP(FinanceProperty, AtItsIrrAProjectIsWorthNothing, ()) {
  const Project project = any_project();
  const Returns r = *returns_of(project);
  if (!r.irr) return;
  RC_ASSERT(std::abs(npv(flows_of(project), *r.irr).value) <= 1e-6 * project.investment.value);
  // And it pays exactly if its rate is more than what money costs.
  if (std::abs(*r.irr - project.discount_rate) > 1e-6)
    RC_ASSERT((r.npv > Money{}) == (*r.irr > project.discount_rate));
}

RC_GTEST_PROP(FinanceProperty, DiscountingDelaysThePayback, ()) {
  const Returns r = *returns_of(any_project());
  if (r.discounted_payback)
    RC_ASSERT(r.payback && *r.payback <= *r.discounted_payback + Seconds{1e-3});
}

// What is paid back by instalments at a rate is worth the loan at that rate.
RC_GTEST_PROP(FinanceProperty, AnAnnuityIsWorthItsLoan, ()) {
  const double rate = *rc::gen::inRange(0, 5000) / 10000.0;
  const int n = *rc::gen::inRange(1, 40);
  std::vector<Flow> flows;
  for (int i = 1; i <= n; ++i)
    flows.push_back({1.0 * i, Money{1000 * capital_recovery_factor(rate, n)}});
  RC_ASSERT(std::abs(npv(flows, rate).value - 1000) < 1e-6);
}

}  // namespace
}  // namespace farthing
