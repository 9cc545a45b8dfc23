#include "econ/unit_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

namespace farthing {
namespace {

using testing::HasSubstr;

double base_units(const char* text, Dim dim) {
  const auto amount = parse_amount(text, "USD");
  EXPECT_TRUE(amount) << text << ": " << amount.error().message;
  if (!amount) return 0;
  EXPECT_EQ(amount->dim, dim) << text;
  return amount->value;
}

TEST(UnitText, ByHand) {
  EXPECT_DOUBLE_EQ(base_units("0.002 USD/ktok", TokenPrice::kDim), 2e-6);
  EXPECT_DOUBLE_EQ(base_units("2 USD/Mtok", TokenPrice::kDim), 2e-6);
  EXPECT_DOUBLE_EQ(base_units("0.14 USD/1", Money::kDim), 0.14);
  EXPECT_DOUBLE_EQ(base_units("864000 queries/day", RequestRate::kDim), 10);
  EXPECT_DOUBLE_EQ(base_units("8 %", {}), 0.08);
  EXPECT_DOUBLE_EQ(base_units("8%", {}), 0.08);
  EXPECT_DOUBLE_EQ(base_units("1_000_000 tok", Tokens::kDim), 1e6);
  EXPECT_DOUBLE_EQ(base_units("1e6 tokens", Tokens::kDim), 1e6);
  EXPECT_DOUBLE_EQ(base_units("-1.5e-3", {}), -1.5e-3);
  EXPECT_DOUBLE_EQ(base_units("12 month", Seconds::kDim), years(1).value);
  EXPECT_DOUBLE_EQ(base_units("0.3 USD/kWh", EnergyPrice::kDim), 0.3 / 3.6e6);
  EXPECT_DOUBLE_EQ(base_units("2 kW", Watts::kDim), 2000);
  EXPECT_DOUBLE_EQ(base_units("20 W*h", Joules::kDim), 72000);
  EXPECT_DOUBLE_EQ(base_units("22 day/month", {}), 22 * 12 / 365.0);
  EXPECT_DOUBLE_EQ(
      base_units(" 5  USD / person / month ", Dim{.money = 1, .time = -1, .people = -1}),
      5 / months(1).value);
}

TEST(UnitText, SaysWhatIsWrong) {
  const auto fault = [](const char* text) {
    const auto amount = parse_amount(text, "USD");
    return amount ? std::string("none") : amount.error().message;
  };
  EXPECT_THAT(fault("5 USD/tokn"), HasSubstr("no unit \"tokn\""));
  EXPECT_THAT(fault("5 EUR"), HasSubstr("EUR among figures in USD"));
  EXPECT_THAT(fault("5 USD/"), HasSubstr("ends with /"));
  EXPECT_THAT(fault("five USD"), HasSubstr("number"));
  EXPECT_THAT(fault(""), HasSubstr("number"));
  for (const char* text : {"nan",
                           "inf USD",
                           "-inf",
                           "1e999 USD",
                           "1e308 Mtok",
                           "0x10 USD",
                           "1.2.3 USD",
                           "1,5 USD",
                           "1 000 USD",
                           "--5",
                           "5 5",
                           "5 USD/0",
                           "e5",
                           ".",
                           "-",
                           "5 \xF0\x9F\x98\x80",
                           "5 USD//tok"})
    EXPECT_NE(fault(text), "none") << text;
  EXPECT_NE(fault(std::string(100000, '9').c_str()), "none");
  EXPECT_NE(fault(("1 " + std::string(100000, '/')).c_str()), "none");
}

// Whatever it is given, it comes back with a finite number or a message of one line.
RC_GTEST_PROP(UnitTextProperty, AnyText, (const std::string& text)) {
  const auto amount = parse_amount(text, "USD");
  if (amount) {
    RC_ASSERT(std::isfinite(amount->value));
  } else {
    RC_ASSERT(amount.error().message.find('\n') == std::string::npos);
  }
}

TEST(UnitText, NamesOfDimensions) {
  EXPECT_EQ(dim_name(RequestPrice::kDim, "EUR"), "EUR/query");
  EXPECT_EQ(dim_name(Dim{.time = -1}, "USD"), "1/s");
  EXPECT_EQ(dim_name({}, "USD"), "a number without unit");
}

}  // namespace
}  // namespace farthing
