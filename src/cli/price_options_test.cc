#include "cli/price_options.h"

#include <gtest/gtest.h>

namespace farthing {
namespace {

std::string fault(std::string_view toml) {
  const auto price = parse_price(toml, "p.toml");
  return price ? "no fault" : price.error().message;
}

TEST(PriceFile, Rented) {
  const auto price = parse_price("currency = \"EUR\"\nper_hour = 0.36\nwatts_busy = 100", "p.toml");
  ASSERT_TRUE(price) << price.error().message;
  EXPECT_EQ(price->currency, "EUR");
  EXPECT_DOUBLE_EQ((price->busy * hours(1)).value, 0.36);
  EXPECT_EQ(price->busy_power, Watts{100});
}

TEST(PriceFile, Owned) {
  const auto price = parse_price(
      "currency = \"USD\"\npurchase = 8760\nyears = 1\nwatts_idle = 100\nwatts_busy = 200\n"
      "price_per_kwh = 0.5\npue = 2",
      "p.toml");
  ASSERT_TRUE(price) << price.error().message;
  EXPECT_NEAR((price->idle * hours(1)).value, 1.1, 1e-12);
  EXPECT_NEAR((price->busy * hours(1)).value, 1.2, 1e-12);
}

TEST(PriceFile, FaultsNameTheLineAndTheForm) {
  EXPECT_NE(fault("currency = \"USD\"\nper_hours = 1").find("p.toml:2"), std::string::npos);
  EXPECT_NE(fault("currency = \"USD\"\nper_hour = \"1\"").find("p.toml:2"), std::string::npos);
  EXPECT_NE(fault("currency = 3\nper_hour = 1").find("p.toml:1"), std::string::npos);
  EXPECT_NE(fault("currency = \"USD\"\nper_hour = 1\nyears = 2").find("p.toml:3"),
            std::string::npos);
  EXPECT_NE(fault("currency = \"USD\"\nper_hour = ").find("p.toml:2"), std::string::npos);
  EXPECT_NE(fault("per_hour = 1").find("currency"), std::string::npos);
  EXPECT_NE(fault("currency = \"USD\"").find("per_hour"), std::string::npos);
  EXPECT_NE(fault("").find("currency"), std::string::npos);
  EXPECT_NE(fault("currency = \"USD\"\nper_hour = -1").find("per_hour"), std::string::npos);
  EXPECT_NE(fault("currency = \"USD\"\nper_hour = nan").find("per_hour"), std::string::npos);
  EXPECT_NE(fault("currency = \"USD\"\npurchase = 1\nyears = 0").find("years"), std::string::npos);
  EXPECT_NE(fault("currency = \"USD\"\nper_hour = 1\nwatts_busy = -5").find("watts_busy"),
            std::string::npos);
}

TEST(PriceOptions, OneWayOnly) {
  EXPECT_FALSE(read_price({.per_hour = 1, .file = "p.toml"}));
  const auto none = read_price({});
  ASSERT_TRUE(none);
  EXPECT_FALSE(*none);
  const auto flag = read_price({.per_hour = 0.5, .currency = "CHF"});
  ASSERT_TRUE(flag);
  EXPECT_EQ((*flag)->currency, "CHF");
  EXPECT_FALSE(read_price({.per_hour = 0.5, .currency = "coins"}));
}

}  // namespace
}  // namespace farthing
