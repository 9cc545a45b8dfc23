#include "econ/api_prices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "econ/embedded.h"

namespace farthing {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(PriceTable, TheShippedOne) {
  const auto table = parse_prices(embedded_file("data/prices.toml"), "prices.toml");
  ASSERT_TRUE(table) << table.error().message;
  EXPECT_GE(table->models.size(), 20u);
  EXPECT_THAT(table->source, HasSubstr("litellm"));
  EXPECT_FALSE(table->date.empty());
  for (const ApiPrice& m : table->models) {
    EXPECT_GT(m.prices.input.value, 0) << m.name;
    EXPECT_LT(per_million(m.prices.output).value, 200)
        << m.name;  // a price per token would be a million times that
    EXPECT_LE(m.prices.cached.value, m.prices.input.value) << m.name;
  }
}

TEST(PriceTable, SaysWhatIsWrong) {
  const auto fault = [](const char* toml) {
    const auto table = parse_prices(toml, "p.toml");
    return table ? "none" : table.error().message;
  };
  EXPECT_THAT(fault(""), HasSubstr("[[model]]"));
  EXPECT_THAT(fault("[[model]]\nname = \"a\"\ninput = 0.15\noutput = \"1 USD/output_Mtok\""),
              AllOf(HasSubstr("p.toml:1"), HasSubstr("has no unit")));
  EXPECT_THAT(
      fault(
          "[[model]]\nname = \"a\"\ninput = \"1 USD/output_Mtok\"\noutput = \"1 USD/output_Mtok\""),
      HasSubstr("input must be in USD/input_tok"));
  EXPECT_THAT(
      fault(
          "[[model]]\nname = \"a\"\ninput = \"-1 USD/input_Mtok\"\noutput = \"1 USD/output_Mtok\""),
      HasSubstr("negative"));
  EXPECT_THAT(fault("[[model]]\nname = \"a\"\ninput = \"1 USD/input_Mtok\""),
              HasSubstr("needs name"));
  EXPECT_THAT(fault("[[model]]\nname = \"a\"\nprice = 5"), HasSubstr("price can't be here"));
  EXPECT_THAT(fault("models = 5"), HasSubstr("no key models"));
  EXPECT_THAT(fault("model = [5]"), HasSubstr("[[model]]"));
  EXPECT_THAT(fault("\xFF"), HasSubstr("UTF-8"));
}

// Cached tokens without a price of their own cost what input does.
TEST(PriceTable, ByHand) {
  const auto table = parse_prices(
      "[[model]]\nname = \"a\"\ninput = \"2 USD/input_Mtok\"\noutput = \"10 USD/output_Mtok\"",
      "p.toml");
  ASSERT_TRUE(table);
  const QueryTokens query{
      .input = InputTokens{400}, .cached = CachedTokens{100}, .output = OutputTokens{50}};
  EXPECT_NEAR(cost_of(table->models[0].prices, query).value, 500 * 2e-6 + 50 * 1e-5, 1e-15);
}

// A machine at 3.60 an hour, one query a busy second: 86.40 a day. An API at 0.01 a query costs
// that at 8,640 a day, a tenth of what the machine can do.
TEST(Compare, ByHand) {
  Fleet fleet{.machine = {.price = *rented("USD", per_hour(Money{3.6})),
                          .prefill = InputTokens{1000} / Seconds{1},
                          .decode = OutputTokens{100} / Seconds{1}},
              .query = {.input = InputTokens{500}, .cached = {}, .output = OutputTokens{50}}};
  fleet.one = capacity(fleet.machine, fleet.query);
  const auto at = [&](double per_query, double planned) {
    ApiPrice api;
    api.prices.output = Money{per_query} / OutputTokens{50};
    return compare(api, fleet, planned);
  };
  ASSERT_TRUE(at(0.01, 1).wins_from);
  EXPECT_NEAR((*at(0.01, 1).wins_from * days(1)).value, 8640, 1e-6);
  EXPECT_FALSE(at(0.01, 0.05).wins_from);  // never so busy
  EXPECT_FALSE(at(0.0009, 1).wins_from);   // dearer even at its fullest
  EXPECT_FALSE(at(0, 1).wins_from);
  // Where busy time costs more: idle 1.80, busy 3.60 an hour; 0.0005 / (0.01 - 0.0005) of the time.
  fleet.machine.price.idle = per_hour(Money{1.8});
  EXPECT_NEAR((*at(0.01, 1).wins_from * days(1)).value, 86400 * 0.0005 / 0.0095, 1e-6);
}

}  // namespace
}  // namespace farthing
