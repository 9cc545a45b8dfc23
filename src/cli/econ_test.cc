// The verbs beneath `econ` as users run them: the real program.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/json.h"

namespace farthing {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

struct Outcome {
  int exit_code = -1;
  std::string output;
};

// Through the shell, without any configuration file; both streams unless `more` redirects.
Outcome econ(const std::string& more) {
  const std::string command =
      "XDG_CONFIG_HOME=/nonexistent " FARTHING_BINARY_DIR "/farthing econ " + more + " 2>&1";
  std::FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) return {};
  Outcome outcome;
  std::array<char, 4096> block;
  while (const size_t n = std::fread(block.data(), 1, block.size(), pipe))
    outcome.output.append(block.data(), n);
  const int status = pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

Json json_of(const std::string& more) {
  const Outcome outcome = econ(more + " --json");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  Json json = Json::parse(outcome.output, nullptr, false);
  EXPECT_TRUE(json.is_object() && json["rows"].is_array() && !json["rows"].empty())
      << outcome.output.substr(0, 500);
  return json;
}

const Json& row(const Json& json, const char* key, const std::string& name) {
  for (const Json& r : json["rows"]) {
    if (r.contains(key) && r[key] == name) return r;
  }
  static const Json none = Json::object();
  ADD_FAILURE() << "no row " << name;
  return none;
}

class EconVerb : public testing::Test {
 protected:
  EconVerb() : folder_(testing::TempDir() + "farthing_econ_XXXXXX") {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
  }
  ~EconVerb() override { std::filesystem::remove_all(folder_); }
  std::string file(const std::string& name, const std::string& text) {
    std::string path = folder_ + "/" + name;
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  std::string folder_;
};

// The chapter's example of 1.4.4, rightly reckoned, over 365-day years.
TEST_F(EconVerb, Roi) {
  const Json json = json_of(
      "roi enterprise --set \"project.running=0 USD/year\" --set \"project.build=0 month\"");
  EXPECT_NEAR(row(json, "name", "benefit a year")["value"].get<double>(), 657000, 1e-3);
  EXPECT_NEAR(row(json, "name", "payback")["value"].get<double>(), 500.0 / 657 * 12, 1e-9);
  const Outcome text = econ("roi enterprise");
  EXPECT_THAT(text.output, AllOf(HasSubstr("NPV"), HasSubstr("IRR"), HasSubstr("payback")));
}

TEST_F(EconVerb, EveryScenarioWithEveryVerbThatFits) {
  for (const char* name : {"toast", "tutoring", "diagnosis", "coding", "enterprise"}) {
    for (const char* verb : {"roi", "tornado", "mc --draws 200", "breakeven"}) {
      const Outcome outcome = econ(fmt::format("{} {}", verb, name));
      EXPECT_TRUE(outcome.exit_code == 0 || outcome.exit_code == 5)
          << verb << " " << name << ": " << outcome.output;
    }
  }
  for (const char* name : {"toast", "tutoring", "diagnosis", "coding"})
    EXPECT_EQ(econ(fmt::format("human {}", name)).exit_code, 0) << name;
  EXPECT_EQ(econ("market").exit_code, 0);
  EXPECT_EQ(econ("curve").exit_code, 0);
  // What doesn't fit says what is missing.
  const Outcome wrong = econ("roi market");
  EXPECT_EQ(wrong.exit_code, 3);
  EXPECT_THAT(wrong.output, HasSubstr("traffic.queries is missing"));
}

TEST_F(EconVerb, MonteCarloIsTheSameEveryTime) {
  const Outcome one = econ("mc toast --json --seed 5 --draws 500"),
                two = econ("mc toast --json --seed 5 --draws 500");
  EXPECT_EQ(one.exit_code, 0) << one.output;
  EXPECT_EQ(one.output, two.output);
  EXPECT_NE(one.output, econ("mc toast --json --seed 6 --draws 500").output);
  const Json json = Json::parse(one.output);
  EXPECT_EQ(json["seed"], 5);
  const Json& npv = row(json, "name", "NPV");
  EXPECT_LT(npv["p10"], npv["p50"]);
  EXPECT_LT(npv["p50"], npv["p90"]);
  EXPECT_GE(json["p_npv_positive"], 0);
  EXPECT_LE(json["p_npv_positive"], 1);
}

// At the value that it names, the NPV is 0.
TEST_F(EconVerb, BreakevenIsWhereItTurns) {
  const Json json = json_of("breakeven enterprise --of traffic.queries");
  const double at = row(json, "input", "traffic.queries")["break_even"];
  const Json there =
      json_of(fmt::format("roi enterprise --set \"traffic.queries={:.17g} request/day\"", at));
  EXPECT_NEAR(row(there, "name", "NPV")["value"].get<double>(), 0, 1);
  const Outcome never = econ("breakeven enterprise --of traffic.peak");
  EXPECT_EQ(never.exit_code, 5) << never.output;
  EXPECT_EQ(econ("breakeven enterprise --of nonsense").exit_code, 2);
}

TEST_F(EconVerb, CostByHand) {
  const std::string scenario = file(
      "s.toml",
      "[traffic]\nqueries = \"86400 query/day\"\ninput_tokens = \"500 input_tok/query\"\n"
      "output_tokens = \"50 output_tok/query\"\n[machine]\nrent = \"3.6 USD/h\"\n"
      "prefill = \"1000 input_tok/s\"\ndecode = \"100 output_tok/s\"\nutilisation = \"50 %\"\n");
  const Json json = json_of("cost " + scenario);
  EXPECT_EQ(row(json, "name", "machines")["value"], 2);
  EXPECT_NEAR(row(json, "name", "utilisation")["value"].get<double>(), 0.5, 1e-12);
  EXPECT_NEAR(row(json, "name", "output_price")["value"].get<double>(), 20, 1e-9);
  EXPECT_EQ(row(json, "name", "output_price")["basis"], "reserved");
  EXPECT_NEAR(row(json, "name", "yearly_cost")["value"].get<double>(), 2 * 3.6 * 8760, 1e-6);
}

// A rung at 1,000 tokens a second on a machine of 3.60 an hour: 1 a million.
TEST_F(EconVerb, CostOfALadder) {
  const std::string ladder =
      file("ladder.json",
           R"({"schema":"farthing-ladder/1","machine":{"usd_per_hour":3.6},"workload":{},"rungs":[
    {"id":"naive","tokens_per_second":{"prefill":10,"decode":5,"total":8},"price_per_million_tokens":{"reserved":200,"used":125}},
    {"id":"top","tokens_per_second":{"prefill":2000,"decode":500,"total":1000},"price_per_million_tokens":{"reserved":1.5,"used":1}}],"claims":[]})");
  const Json json = json_of("cost --from " + ladder);
  EXPECT_EQ(json["rung"], "top");
  EXPECT_NEAR(json["rungs"][1]["price_per_million_tokens"].get<double>(), 1, 1e-9);
  EXPECT_NEAR(json["rungs"][0]["price_per_million_tokens"].get<double>(), 125, 1e-9);
  EXPECT_EQ(json["rungs"][1]["ladder_reserved"], 1.5);
  bool found = false;
  for (const Json& r : json["rows"]) {
    if (r["name"] != "output_price" || r["basis"] != "used") continue;
    found = true;
    EXPECT_NEAR(r["value"].get<double>(), 2, 1e-9);  // 0.001 / 500
  }
  EXPECT_TRUE(found);
  EXPECT_EQ(json_of("cost --rung naive --from " + ladder)["rung"], "naive");
  EXPECT_THAT(econ("cost --rung none --from " + ladder).output, HasSubstr("naive, top"));
  EXPECT_EQ(econ("compare --from " + ladder).exit_code, 0);
  for (const char* text : {"",
                           "{}",
                           "[",
                           "{\"schema\":\"farthing-ladder/1\"}",
                           "{\"schema\":\"farthing-ladder/1\",\"rungs\":[{}]}",
                           "{\"schema\":\"farthing-ladder/"
                           "1\",\"rungs\":[{\"id\":\"a\",\"tokens_per_second\":{\"prefill\":-1}}]}",
                           "{\"schema\":5}"}) {
    EXPECT_EQ(econ("cost --from " + file("bad.json", text)).exit_code, 3) << text;
  }
  EXPECT_EQ(econ("cost --from " + folder_ + "/none.json").exit_code, 3);
  EXPECT_EQ(econ("cost --from http://127.0.0.1:1").exit_code, 4);
  EXPECT_EQ(econ("cost --from https://example.com").exit_code, 2);
}

TEST_F(EconVerb, Compare) {
  const Json json = json_of("compare enterprise");
  EXPECT_GE(json["rows"].size(), 20u);
  EXPECT_THAT(json["prices_source"].get<std::string>(), HasSubstr("litellm"));
  // Cheapest first; a machine wins where its query costs less.
  double last = 0;
  for (const Json& r : json["rows"]) {
    const double cost = r["per_query"];
    EXPECT_GE(cost, last);
    last = cost;
    EXPECT_EQ(r["cheaper"] == "machine", cost >= json["machine"]["per_query"].get<double>());
  }
  const std::string own = file(
      "p.toml",
      "[[model]]\nname = \"mine\"\ninput = \"1 USD/input_Mtok\"\noutput = \"1 USD/output_Mtok\"\n");
  const Json mine = json_of("compare enterprise --prices " + own);
  ASSERT_EQ(mine["rows"].size(), 1u);
  EXPECT_NEAR(mine["rows"][0]["per_query"].get<double>(), 1000e-6, 1e-12);
  EXPECT_EQ(econ("compare --model nonesuch").exit_code, 2);
}

TEST_F(EconVerb, Audit) {
  const Json json = json_of("audit");
  EXPECT_EQ(json["rows"].size(), 141u);
  EXPECT_NEAR(row(json, "id", "R5")["our_value"].get<double>(), 29.6, 1e-9);
  EXPECT_THAT(row(json, "id", "R5")["verdict"].get<std::string>(), HasSubstr("UNIT"));
  EXPECT_EQ(json_of("audit --id R7")["rows"].size(), 6u);
  EXPECT_EQ(econ("audit --id Z9").exit_code, 2);
  EXPECT_THAT(econ("audit").output,
              AllOf(HasSubstr("R6"), HasSubstr("9.259 month"), HasSubstr("141 rows")));
}

TEST_F(EconVerb, Html) {
  for (const char* verb : {"cost",
                           "compare",
                           "roi",
                           "human",
                           "breakeven",
                           "tornado",
                           "mc --draws 200",
                           "curve",
                           "market",
                           "audit"}) {
    const std::string path = folder_ + "/page.html";
    const Outcome outcome = econ(fmt::format("{} --html {}", verb, path));
    ASSERT_EQ(outcome.exit_code, 0) << verb << outcome.output;
    std::ifstream in(path);
    const std::string page{std::istreambuf_iterator<char>(in), {}};
    EXPECT_THAT(page,
                AllOf(HasSubstr("<!doctype html>"),
                      HasSubstr("</html>"),
                      Not(HasSubstr("<script")),
                      Not(HasSubstr("=\"nan"))))
        << verb;
  }
  EXPECT_EQ(econ("roi --html " + folder_ + "/none/page.html").exit_code, 4);
}

TEST_F(EconVerb, ErrorsNameTheLineAndTheForm) {
  const std::string unit = file("unit.toml", "[project]\ninvestment = 500000\n");
  const Outcome outcome = econ("roi " + unit);
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_THAT(outcome.output,
              AllOf(HasSubstr("unit.toml:2: "), HasSubstr("investment = \"500000 USD\"")));
  EXPECT_EQ(econ("roi " + file("empty.toml", "")).exit_code, 3);
  EXPECT_EQ(econ("roi " + folder_).exit_code, 3);
  EXPECT_THAT(econ("roi enterprize").output, HasSubstr("did you mean enterprise?"));
  EXPECT_EQ(econ("roi enterprize").exit_code, 2);
  EXPECT_THAT(econ("roi --set project.horizon=3").output, HasSubstr("horizon = \"3 year\""));
  EXPECT_EQ(econ("roi --set \"project.horizon=0 year\"").exit_code, 2);
  EXPECT_EQ(econ("roi --set \"traffic.queries=-1 query/day\"").exit_code, 2);
  EXPECT_EQ(econ("roi --set \"traffic.queries=nan query/day\"").exit_code, 2);
  const Outcome huge = econ("roi --set \"traffic.queries=1e300 query/day\"");
  EXPECT_TRUE(huge.exit_code == 0 || huge.exit_code == 3) << huge.output;
  EXPECT_THAT(econ("cots").output, HasSubstr("did you mean cost?"));
  EXPECT_EQ(econ("").exit_code, 2);
  EXPECT_EQ(econ("mc --draws 1").exit_code, 2);
}

TEST_F(EconVerb, ScenariosToBeginWith) {
  EXPECT_THAT(econ("scenarios").output, AllOf(HasSubstr("toast"), HasSubstr("cost-path")));
  const Outcome toast = econ("scenarios toast");
  EXPECT_EQ(toast.exit_code, 0);
  EXPECT_EQ(
      econ("roi " + file("own.toml", toast.output) + " --json | grep -v '\"scenario\"'").output,
      econ("roi toast --json | grep -v '\"scenario\"'").output);
  EXPECT_EQ(econ("scenarios none").exit_code, 2);
}

}  // namespace
}  // namespace farthing
