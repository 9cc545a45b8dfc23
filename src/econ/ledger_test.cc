#include "econ/ledger.h"

#include <gtest/gtest.h>

#include "econ/machine_price.h"

namespace farthing {
namespace {

// Whether an expression of two types compiles.
template <class A, class B>
concept Adds = requires(A a, B b) { a + b; };
static_assert(Adds<Money, Money>);
static_assert(!Adds<Money, Seconds>);
static_assert(!Adds<TokenPrice, Money>);
static_assert(!Adds<Tokens, double>);
static_assert(std::is_same_v<decltype(MoneyRate{} * Seconds{}), Money>);
static_assert(std::is_same_v<decltype(Watts{} * Seconds{}), Joules>);

TEST(MachinePrice, RentedCostsTheSameBusyOrNot) {
  const auto price = rented("USD", per_hour(Money{0.36}));
  ASSERT_TRUE(price);
  EXPECT_DOUBLE_EQ((price->busy * Seconds{10}).value, 0.001);  // 0.36 / 3600 * 10
  EXPECT_EQ(price->idle, price->busy);
}

// 10,000 over 5 years at 8 %: 2504.56 a year, 0.285909 an hour. 200 W at PUE 1.5 and 0.30 a kWh:
// 0.09 an hour; 100 W: 0.045.
TEST(MachinePrice, OwnedByHand) {
  const auto price = owned("EUR",
                           {.purchase = Money{10000},
                            .years = 5,
                            .discount_rate = 0.08,
                            .idle_power = Watts{100},
                            .busy_power = Watts{200},
                            .electricity = Money{0.30} / kilowatt_hours(1),
                            .pue = 1.5});
  ASSERT_TRUE(price);
  EXPECT_NEAR((price->busy * hours(1)).value, 0.285909 + 0.09, 1e-6);
  EXPECT_NEAR((price->idle * hours(1)).value, 0.285909 + 0.045, 1e-6);
}

TEST(MachinePrice, WithoutInterestThePriceIsSpreadEvenly) {
  const auto price = owned("USD", {.purchase = Money{8760}, .years = 1});
  ASSERT_TRUE(price);
  EXPECT_NEAR((price->busy * hours(1)).value, 1, 1e-12);
}

TEST(MachinePrice, SaysWhichFigureCannotBe) {
  const auto fault = [](Ownership machine) {
    const auto price = owned("USD", machine);
    return price ? std::string() : price.error().message;
  };
  EXPECT_NE(fault({.purchase = Money{-1}, .years = 1}).find("purchase"), std::string::npos);
  EXPECT_NE(fault({.purchase = Money{1}, .years = 0}).find("years"), std::string::npos);
  EXPECT_NE(fault({.purchase = Money{1}, .years = 1, .pue = 0.5}).find("pue"), std::string::npos);
  EXPECT_NE(fault({.purchase = Money{1}, .years = 1, .discount_rate = -0.1}).find("discount_rate"),
            std::string::npos);
  EXPECT_FALSE(rented("dollars", {}));
  EXPECT_FALSE(rented("US\"", {}));
  EXPECT_FALSE(rented("USD", per_hour(Money{-1})));
}

// An hour at 3.60: 0.001 a second. 600 s of prompts, 1200 s of completions, 1800 s idle.
Ledger an_hour() {
  return {.price = *rented("USD", per_hour(Money{3.6})),
          .idle = Seconds{1800},
          .busy = {.prompt = Seconds{600}, .completion = Seconds{1200}},
          .prompt = Tokens{900000},
          .completion = Tokens{100000}};
}

TEST(Ledger, ByHand) {
  const Ledger ledger = an_hour();
  EXPECT_NEAR(ledger.used_cost().prompt.value, 0.6, 1e-12);
  EXPECT_NEAR(ledger.used_cost().completion.value, 1.2, 1e-12);
  EXPECT_NEAR(ledger.idle_cost().value, 1.8, 1e-12);
  EXPECT_NEAR(ledger.machine_cost().value, 3.6, 1e-12);
  using enum Ledger::Basis;
  using enum Ledger::Count;
  EXPECT_NEAR(per_million(*ledger.token_price(kUsed, kOutput)).value, 18, 1e-9);
  EXPECT_NEAR(per_million(*ledger.token_price(kReserved, kOutput)).value, 36, 1e-9);
  EXPECT_NEAR(per_million(*ledger.token_price(kUsed, kTotal)).value, 1.8, 1e-9);
  EXPECT_NEAR(per_million(*ledger.token_price(kReserved, kTotal)).value, 3.6, 1e-9);
  EXPECT_FALSE(ledger.energy());
}

TEST(Ledger, NoPriceBeforeTheFirstToken) {
  Ledger ledger = an_hour();
  ledger.completion = {};
  EXPECT_FALSE(ledger.token_price(Ledger::Basis::kUsed, Ledger::Count::kOutput));
  EXPECT_TRUE(ledger.token_price(Ledger::Basis::kUsed, Ledger::Count::kTotal));
}

TEST(Ledger, EnergyOfIdleAndBusyTime) {
  Ledger ledger = an_hour();
  ledger.price.idle_power = Watts{50};
  ledger.price.busy_power = Watts{100};
  EXPECT_NEAR(ledger.energy()->value, 1800 * 50 + 1800 * 100, 1e-6);
}

// However the busy time is divided, requests and idle time add up to the machine's cost.
TEST(Ledger, RequestsAndIdleTimeAddUp) {
  Ledger ledger = an_hour();
  ledger.price = *owned("USD",
                        {.purchase = Money{5000},
                         .years = 4,
                         .discount_rate = 0.05,
                         .idle_power = Watts{60},
                         .busy_power = Watts{180},
                         .electricity = Money{0.25} / kilowatt_hours(1),
                         .pue = 1.2});
  Money sum = ledger.idle_cost();
  constexpr int kRequests = 7;
  for (int i = 0; i < kRequests; ++i) {
    sum += cost_of(ledger.price,
                   {.prompt = ledger.busy.prompt * (i / 21.0),
                    .completion = ledger.busy.completion * ((kRequests - 1 - i) / 21.0)})
               .total();
  }
  EXPECT_NEAR(sum.value, ledger.machine_cost().value, 1e-12);
  const Money direct = ledger.price.idle * Seconds{1800} + ledger.price.busy * Seconds{1800};
  EXPECT_NEAR(ledger.machine_cost().value, direct.value, 1e-12);
}

}  // namespace
}  // namespace farthing
