#include "econ/token_cost.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

namespace farthing {
namespace {

// 3.60 an hour (0.001 a second), 1,000 prompt tokens or 100 answer tokens a second, half of the
// time busy.
WorkingMachine machine() {
  return {.price = *rented("USD", per_hour(Money{3.6})),
          .prefill = InputTokens{1000} / Seconds{1},
          .decode = OutputTokens{100} / Seconds{1},
          .utilisation = 0.5};
}
const QueryTokens kQuery{
    .input = InputTokens{500}, .cached = CachedTokens{300}, .output = OutputTokens{50}};

// Used: 0.001 / 1000 = 1e-6 an input token, 1e-5 an output token; reserved: twice that.
TEST(TokenCost, ByHand) {
  const TokenPrices used = token_prices(machine(), Basis::kUsed);
  EXPECT_NEAR(per_million(used.input).value, 1, 1e-9);
  EXPECT_NEAR(per_million(used.output).value, 10, 1e-9);
  EXPECT_EQ(used.cached.value, 0);
  const TokenPrices reserved = token_prices(machine(), Basis::kReserved);
  EXPECT_NEAR(per_million(reserved.input).value, 2, 1e-9);
  EXPECT_NEAR(per_million(reserved.output).value, 20, 1e-9);
  // 500 / 1000 + 50 / 100 = 1 s busy: 0.001; reserved 0.002.
  EXPECT_NEAR(busy_time(machine(), kQuery).value, 1, 1e-12);
  EXPECT_NEAR(cost_of(used, kQuery).value, 0.001, 1e-12);
  EXPECT_NEAR(cost_of(reserved, kQuery).value, 0.002, 1e-12);
  EXPECT_NEAR(capacity(machine(), kQuery).value, 1, 1e-12);
  EXPECT_EQ(kQuery.all(), Tokens{850});
}

TEST(TokenCost, SaysWhichFigureCannotBe) {
  WorkingMachine m = machine();
  EXPECT_TRUE(check_machine(m));
  m.utilisation = 0;
  EXPECT_FALSE(check_machine(m));
  m.utilisation = 1.1;
  EXPECT_FALSE(check_machine(m));
  m = machine();
  m.decode = {};
  EXPECT_FALSE(check_machine(m));
  m.decode = DecodeRate::of_base_units(NAN);
  EXPECT_FALSE(check_machine(m));
}

WorkingMachine any_machine() {
  WorkingMachine m = machine();
  m.price = *owned("USD",
                   {.purchase = Money{1.0 + *rc::gen::inRange(0, 100000)},
                    .years = 1.0 + *rc::gen::inRange(0, 9),
                    .discount_rate = *rc::gen::inRange(0, 30) / 100.0,
                    .residual = *rc::gen::inRange(0, 100) / 100.0,
                    .other = per_year(Money{1.0 * *rc::gen::inRange(0, 10000)}),
                    .availability = (1 + *rc::gen::inRange(0, 100)) / 100.0,
                    .idle_power = Watts{1.0 * *rc::gen::inRange(0, 200)},
                    .busy_power = Watts{200.0 + *rc::gen::inRange(0, 500)},
                    .electricity = Money{*rc::gen::inRange(1, 50) / 100.0} / kilowatt_hours(1),
                    .pue = 1 + *rc::gen::inRange(0, 100) / 100.0});
  m.prefill = InputTokens{1.0 + *rc::gen::inRange(0, 100000)} / Seconds{1};
  m.decode = OutputTokens{1.0 + *rc::gen::inRange(0, 10000)} / Seconds{1};
  m.utilisation = (1 + *rc::gen::inRange(0, 100)) / 100.0;
  return m;
}

// What its queries pay, reserved, is what the machine costs, whatever the shares are.
RC_GTEST_PROP(TokenCostProperty, QueriesPayForTheMachine, ()) {
  const WorkingMachine m = any_machine();
  const QueryTokens query{.input = InputTokens{1.0 * *rc::gen::inRange(0, 10000)},
                          .cached = CachedTokens{1.0 * *rc::gen::inRange(0, 10000)},
                          .output = OutputTokens{1.0 + *rc::gen::inRange(0, 1000)}};
  const RequestRate answered = capacity(m, query) * m.utilisation;
  const MoneyRate paid =
      answered * (cost_of(token_prices(m, Basis::kReserved), query) / Requests{1});
  RC_ASSERT(std::abs(paid / rate_of(m) - 1) < 1e-9);
}

RC_GTEST_PROP(TokenCostProperty, IdleTimeNeverMakesTokensCheaper, ()) {
  WorkingMachine m = any_machine();
  const TokenPrices used = token_prices(m, Basis::kUsed),
                    reserved = token_prices(m, Basis::kReserved);
  RC_ASSERT(reserved.output.value >= used.output.value * (1 - 1e-12));
  RC_ASSERT(reserved.input.value >= used.input.value * (1 - 1e-12));
  m.utilisation = 1;  // the limit: no idle time, one price
  const TokenPrices full = token_prices(m, Basis::kReserved);
  RC_ASSERT(std::abs(full.output.value / used.output.value - 1) < 1e-9);
}

// What is left at the end is worth its present value: 10,000 over 5 years at 8 %, 20 % left:
// (10000 - 2000 / 1.469328) * 0.2504565 = 2163.64 a year; with 600 a year more and half of the
// hours.
TEST(Ownership, ResidualOtherAndAvailabilityByHand) {
  const auto price = owned("USD",
                           {.purchase = Money{10000},
                            .years = 5,
                            .discount_rate = 0.08,
                            .residual = 0.2,
                            .other = per_year(Money{600}),
                            .availability = 0.5});
  ASSERT_TRUE(price);
  EXPECT_NEAR((price->idle * years(1)).value, 2 * (2163.6518 + 600), 1e-2);
  EXPECT_FALSE(owned("USD", {.purchase = Money{1}, .years = 1, .residual = 1.5}));
  EXPECT_FALSE(owned("USD", {.purchase = Money{1}, .years = 1, .availability = 0}));
}

}  // namespace
}  // namespace farthing
