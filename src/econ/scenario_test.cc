#include "econ/scenario.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "econ/business_case.h"
#include "econ/embedded.h"

namespace farthing {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string fault(std::string_view toml) {
  const auto scenario = Scenario::parse(toml, "s.toml");
  return scenario ? "none" : scenario.error().message;
}

// What the issue names: each names the line and shows the right form.
TEST(Scenario, MissingUnit) {
  EXPECT_THAT(fault("[before]\n\ncost_per_query = 0.02\n"),
              AllOf(HasSubstr("s.toml:3: "),
                    HasSubstr("has no unit"),
                    HasSubstr("cost_per_query = \"2 USD/query\"")));
  EXPECT_THAT(fault("[before]\ncost_per_query = \"0.02\""),
              AllOf(HasSubstr("s.toml:2: "), HasSubstr("has no unit")));
  EXPECT_THAT(fault("[before]\ncost_per_query = {value = \"1 USD/query\", low = 1}"),
              AllOf(HasSubstr("s.toml:2: "), HasSubstr("has no unit")));
}

TEST(Scenario, WrongUnit) {
  EXPECT_THAT(fault("[before]\nprice = \"0.002 USD/query\""),
              AllOf(HasSubstr("s.toml:2: "),
                    HasSubstr("USD/query"),
                    HasSubstr("USD/tok"),
                    HasSubstr("price = \"0.002 USD/ktok\"")));
  EXPECT_THAT(fault("[before]\noutput_price = \"1 USD/input_Mtok\""),
              HasSubstr("output_price = \"10 USD/output_Mtok\""));
  EXPECT_THAT(fault("[project]\ndiscount_rate = \"8 %\""), HasSubstr("10 %/year"));
  EXPECT_THAT(fault("[project]\ndiscount_rate = \"8 %\""), HasSubstr("has no unit"));
}

TEST(Scenario, MixedBasis) {
  EXPECT_THAT(
      fault("[before]\nprice = {value = \"0.002 USD/ktok\", basis = \"reserved\"}\n[after]\n"
            "price = {value = \"0.001 USD/ktok\", basis = \"used\"}\n"),
      AllOf(HasSubstr("s.toml:4: mixed basis"),
            HasSubstr("s.toml:2"),
            HasSubstr("basis = \"reserved\"")));
  // Not stated is as an API's: reserved.
  EXPECT_THAT(fault("[before]\nprice = \"0.002 USD/ktok\"\n[after]\nprice = {value = \"0.001 "
                    "USD/ktok\", basis = \"used\"}\n"),
              HasSubstr("mixed basis"));
  EXPECT_EQ(fault("[before]\nprice = {value = \"0.002 USD/ktok\", basis = \"used\"}\n[after]\n"
                  "price = {value = \"0.001 USD/ktok\", basis = \"used\"}\n"),
            "none");
  EXPECT_THAT(fault("[before]\ncost_per_query = {value = \"1 USD/query\", basis = \"used\"}"),
              HasSubstr("of prices alone"));
  EXPECT_THAT(fault("[before]\nprice = {value = \"1 USD/tok\", basis = \"rserved\"}"),
              HasSubstr("reserved|used"));
}

TEST(Scenario, NegativePrice) {
  EXPECT_THAT(fault("title = \"x\"\n[after]\ncost_per_query = \"-0.02 USD/query\""),
              AllOf(HasSubstr("s.toml:3: "),
                    HasSubstr("is negative"),
                    HasSubstr("cost_per_query = \"0.02 USD/query\"")));
  EXPECT_THAT(fault("[after]\ncost_per_query = {value = \"1 USD/query\", low = \"-1 USD/query\", "
                    "high = \"2 USD/query\"}"),
              HasSubstr("is negative"));
}

TEST(Scenario, HorizonOfZero) {
  EXPECT_THAT(
      fault("[project]\nhorizon = \"0 year\""),
      AllOf(
          HasSubstr("s.toml:2: "), HasSubstr("more than zero"), HasSubstr("horizon = \"3 year\"")));
  EXPECT_THAT(fault("[project]\nhorizon = \"1e9 year\""), HasSubstr("from 0 to 100 year"));
}

TEST(Scenario, TypingErrors) {
  EXPECT_THAT(fault("[trafic]\nqueries = \"1 query/day\""), HasSubstr("did you mean traffic"));
  EXPECT_THAT(fault("[traffic]\nquerys = \"1 query/day\""),
              AllOf(HasSubstr("s.toml:2: "), HasSubstr("did you mean traffic.queries?")));
  EXPECT_THAT(fault("[[correlations]]\na = \"x\""), HasSubstr("did you mean correlation?"));
  EXPECT_THAT(fault("traffic = 5"), HasSubstr("traffic"));
  EXPECT_THAT(fault("[traffic]\nqueries = {vlaue = \"1 query/day\"}"), HasSubstr("has no value"));
  EXPECT_THAT(fault("[traffic]\nqueries = {value = \"1 query/day\", lo = \"1 query/day\"}"),
              HasSubstr("lo"));
  EXPECT_THAT(fault("[traffic]\nqueries = [1]"), HasSubstr("NUMBER UNIT"));
  EXPECT_THAT(fault("[traffic]\nqueries = true"), HasSubstr("NUMBER UNIT"));
}

TEST(Scenario, HostileText) {
  EXPECT_THAT(fault(""), HasSubstr("empty"));
  EXPECT_THAT(fault("# nothing\n"), HasSubstr("empty"));
  for (const char* text :
       {"[traffic\n",
        "[traffic]\nqueries = nan",
        "[traffic]\nqueries = \"nan query/day\"",
        "[traffic]\nqueries = inf",
        "[traffic]\nqueries = \"1e400 query/day\"",
        "currency = \"usd\"",
        "currency = 5",
        "\xFF\xFE",
        "points = 3",
        "[[points]]\nyear = 2020",
        "[[points]]\nyear = nan\nprice = \"1 USD/tok\"",
        "[[points]]\nyear = 2020\nprice = \"0 USD/tok\"",
        "[[points]]\nyear = 2020\nprice = \"1 USD/query\"",
        "[[points]]\nyear = 2020\nprice = 1",
        "[[correlation]]\na = \"x\"",
        "[[correlation]]\na = \"after.acceptance\"\nb = \"after.escalation\"\nrank = 2",
        "[market]\nfrom = 12",
        "[[correlation]]\na = \"nonsense\"\nb = \"after.escalation\"\nrank = 0.5",
        "title = 5",
        "[after]\nacceptance = \"120 %\"",
        "[machine]\npue = \"0.5 x\"",
        "[machine]\nutilisation = \"0 %\""}) {
    const std::string message = fault(text);
    EXPECT_NE(message, "none") << text;
    EXPECT_THAT(message, HasSubstr("s.toml")) << text;
    EXPECT_EQ(message.find('\n'), std::string::npos) << text;
  }
}

TEST(Scenario, BoundsInOrder) {
  EXPECT_THAT(fault("[after]\nacceptance = {value = \"90 %\", low = \"95 %\", high = \"99 %\"}"),
              AllOf(HasSubstr("s.toml:2: "), HasSubstr("between its low and high")));
  EXPECT_THAT(fault("[after]\nescalation = {value = \"10 %\", low = \"0 %\", high = \"30 %\", "
                    "shape = \"lognormal\"}"),
              HasSubstr("lognormal"));
  EXPECT_THAT(fault("[after]\nescalation = {value = \"10 %\", low = \"0 %\", high = \"30 %\", "
                    "shape = \"normal\"}"),
              HasSubstr("pert|lognormal"));
}

TEST(Scenario, OtherCurrencies) {
  const auto scenario =
      Scenario::parse("currency = \"EUR\"\n[before]\ncost_per_query = \"2 EUR/query\"", "s.toml");
  ASSERT_TRUE(scenario) << scenario.error().message;
  EXPECT_EQ(scenario->shown(*scenario->find("before.cost_per_query"), 2), "2 EUR/query");
  EXPECT_THAT(fault("currency = \"EUR\"\n[before]\ncost_per_query = \"2 USD/query\""),
              HasSubstr("USD among figures in EUR"));
  EXPECT_THAT(fault("currency = \"EUR\"\n[before]\ncost_per_query = 2"), HasSubstr("2 EUR/query"));
}

TEST(Scenario, SetOverrides) {
  auto scenario = *Scenario::parse(
      "[traffic]\nqueries = {value = \"10 query/day\", low = \"5 query/day\", high = \"20 "
      "query/day\"}",
      "s.toml");
  const uint64_t before = scenario.hash();
  EXPECT_TRUE(scenario.set("traffic.queries=15 query/day"));
  EXPECT_EQ(scenario.uncertain().size(), 1u);  // still between its bounds
  EXPECT_NE(scenario.hash(), before);
  EXPECT_TRUE(scenario.set("traffic.queries=15 query/day"));
  EXPECT_TRUE(scenario.set("traffic.queries=1000 query/day"));
  EXPECT_TRUE(scenario.uncertain().empty());  // they were another's
  EXPECT_TRUE(scenario.set("traffic.queries.low=500 query/day"));
  EXPECT_TRUE(scenario.set("traffic.queries.high=2000 query/day"));
  EXPECT_EQ(scenario.uncertain().size(), 1u);
  EXPECT_TRUE(scenario.check());
  EXPECT_TRUE(scenario.set("project.horizon=2 year"));
  const auto wrong = [&](const char* text) {
    const Status status = scenario.set(text);
    return status ? "none" : status.error().message;
  };
  EXPECT_THAT(wrong("traffic.querys=5 query/day"), HasSubstr("did you mean traffic.queries?"));
  EXPECT_THAT(wrong("traffic.queries=5"),
              AllOf(HasSubstr("has no unit"), HasSubstr("500000 query/day")));
  EXPECT_THAT(wrong("traffic.queries"), HasSubstr("KEY=VALUE"));
  EXPECT_THAT(wrong("=5"), HasSubstr("KEY=VALUE"));
  EXPECT_THAT(wrong("project.build.low=1 month"), HasSubstr("first"));
  EXPECT_TRUE(scenario.set("traffic.queries.low=5000 query/day"));
  EXPECT_FALSE(scenario.check());
}

TEST(Scenario, ThoseShippedAreGood) {
  int n = 0;
  for (const EmbeddedFile& file : embedded_files()) {
    if (!file.name.starts_with("scenarios/")) continue;
    ++n;
    const auto scenario = Scenario::parse(file.text, std::string(file.name));
    ASSERT_TRUE(scenario) << scenario.error().message;
    EXPECT_FALSE(scenario->title().empty());
    // Every figure says where it is from, or is a convention of its author's.
    if (!scenario->has_table("project")) continue;
    const auto c = business_case(*scenario);
    EXPECT_TRUE(c) << file.name << ": " << c.error().message;
  }
  EXPECT_EQ(n, 7);
}

// Every form that errors show is itself right.
TEST(Scenario, FormsAreGood) {
  for (const InputSpec& spec : scenario_inputs()) {
    auto scenario = *Scenario::parse("title = \"x\"", "s.toml");
    const Status status = scenario.set(fmt::format("{}={}", spec.key, spec.form));
    EXPECT_TRUE(status) << status.error().message;
  }
}

// docs/economics.md has a line for each input, with its form.
TEST(Scenario, EveryInputIsDocumented) {
  std::ifstream in(FARTHING_SOURCE_DIR "/docs/economics.md");
  const std::string page{std::istreambuf_iterator<char>(in), {}};
  for (const InputSpec& spec : scenario_inputs())
    EXPECT_THAT(page, HasSubstr(fmt::format("| `{}` | `{}` |", spec.key, spec.form)));
}

// A file with some of its bytes changed is a scenario or an error, never more.
TEST(Scenario, AnyChangedFile) {
  const std::string good(embedded_file("scenarios/toast.toml"));
  ASSERT_FALSE(good.empty());
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    std::string text = good;
    for (int j = 0; j < 1 + i % 5; ++j) text[random() % text.size()] = static_cast<char>(random());
    const auto scenario = Scenario::parse(text, "s.toml");
    if (scenario) {
      (void)business_case(*scenario).has_value();
    } else {
      EXPECT_EQ(scenario.error().message.find('\n'), std::string::npos);
    }
  }
}

Scenario small(const std::string& more) {
  const auto scenario = Scenario::parse(
      "[traffic]\nqueries = \"86400 query/day\"\ninput_tokens = \"500 input_tok/query\"\n"
      "output_tokens = \"50 output_tok/query\"\n" +
          more,
      "s.toml");
  EXPECT_TRUE(scenario) << scenario.error().message;
  return *scenario;
}

// One query a second, each keeping a machine busy for 1 s: at 25 % of planned load four machines,
// each 25 % busy; 4 x 3.60 an hour over 3,600 queries: 0.004.
TEST(Fleet, ByHand) {
  const std::string machine =
      "[machine]\nrent = \"3.6 USD/h\"\nprefill = \"1000 input_tok/s\"\ndecode = \"100 "
      "output_tok/s\"\n";
  const auto fleet = plan_fleet(small(machine + "utilisation = \"25 %\""));
  ASSERT_TRUE(fleet) << fleet.error().message;
  EXPECT_EQ(fleet->n_machines, 4);
  EXPECT_NEAR(fleet->machine.utilisation, 0.25, 1e-12);
  EXPECT_NEAR(fleet->per_query.value, 0.004, 1e-12);
  EXPECT_NEAR(fleet->per_query_used.value, 0.001, 1e-12);
  // Whole machines: 30 % planned is 3.33, so four all the same.
  EXPECT_EQ(plan_fleet(small(machine + "utilisation = \"30 %\""))->n_machines, 4);
  EXPECT_EQ(plan_fleet(small(machine))->n_machines, 1);
  EXPECT_FALSE(plan_fleet(small("[machine]\nrent = \"3.6 USD/h\"\ndecode = \"100 output_tok/s\"")));
  EXPECT_FALSE(plan_fleet(small(machine + "purchase = \"1 USD\"")));
  EXPECT_FALSE(plan_fleet(small(machine + "staff = \"1 FTE\"")));
}

TEST(QueryCost, ByHand) {
  const auto cost = [](const std::string& toml) {
    const auto price = query_cost(small(toml), "before");
    EXPECT_TRUE(price) << price.error().message;
    return price ? price->price.value : 0;
  };
  EXPECT_NEAR(cost("[before]\ncost_per_query = \"2 USD/query\""), 2, 1e-12);
  EXPECT_NEAR(cost("[before]\nprice = \"0.002 USD/ktok\""), 550 * 2e-6, 1e-15);
  EXPECT_NEAR(
      cost("[before]\ninput_price = \"2 USD/input_Mtok\"\noutput_price = \"10 USD/output_Mtok\""),
      500 * 2e-6 + 50 * 1e-5,
      1e-15);
  EXPECT_NEAR(cost("[human]\nsalary = \"8800 USD/person/month\"\nqueries = \"50 "
                   "query/person/day\"\nworking_days = \"22 day/month\""),
              8,
              1e-9);
  EXPECT_NEAR(
      query_cost(small("[before]\ncost_per_query = \"2 USD/query\"\n[after]\nsaving = \"90 %\""),
                 "after")
          ->price.value,
      0.2,
      1e-12);
  // Two ways to say it may say two things; half a way says nothing.
  EXPECT_FALSE(query_cost(
      small("[before]\ncost_per_query = \"2 USD/query\"\nprice = \"0.002 USD/ktok\""), "before"));
  EXPECT_FALSE(query_cost(small("[before]\noutput_price = \"10 USD/output_Mtok\""), "before"));
  EXPECT_FALSE(query_cost(small(""), "before"));
}

// 86,400 queries a day at 2; after: 0.10, review 0.20, 80 % right, 50 % passed on: 40 % resolved,
// so 0.10 + 0.20 + 1.20 = 1.50, and 0.50 saved on each: 15,768,000 a year.
TEST(BusinessCase, ByHand) {
  const auto c = business_case(small(
      "[before]\ncost_per_query = \"2 USD/query\"\n[after]\ncost_per_query = \"0.1 USD/query\"\n"
      "review = \"0.2 USD/query\"\nacceptance = \"80 %\"\nescalation = \"50 %\"\n"
      "[project]\ninvestment = \"1000000 USD\"\nhorizon = \"1 year\""));
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_NEAR(c->after_resolved.value, 1.5, 1e-12);
  EXPECT_NEAR((c->project.benefit * years(1)).value, 0.5 * 86400 * 365, 1e-3);
  EXPECT_NEAR(c->returns.npv.value, 15768000 - 1000000, 1e-3);
}

}  // namespace
}  // namespace farthing
