#include "econ/audit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "econ/embedded.h"
#include "econ/formula.h"

namespace farthing {
namespace {

using testing::HasSubstr;

std::vector<AuditRow> rows() {
  auto list = read_audit(embedded_file("data/chapter_audit.jsonl"));
  EXPECT_TRUE(list) << list.error().message;
  return list ? *std::move(list) : std::vector<AuditRow>();
}

// Each row comes out as it is pinned in the file.
TEST(Audit, EveryRowIsPinned) {
  for (const AuditRow& row : rows()) {
    if (!row.computed()) continue;
    ASSERT_TRUE(row.pinned && row.ours) << row.id;
    const double slack = 1e-5;
    EXPECT_NEAR(row.ours->low, row.pinned->low, slack * std::abs(row.pinned->low)) << row.id;
    EXPECT_NEAR(row.ours->high, row.pinned->high, slack * std::abs(row.pinned->high)) << row.id;
  }
}

// OK stands where the chapter's figure is ours, and nowhere else.
TEST(Audit, VerdictsFollowFromTheFigures) {
  for (const AuditRow& row : rows()) {
    const std::optional<bool> agrees = row.agrees();
    if (!agrees) continue;
    const bool ok = std::ranges::find(row.verdicts, "OK") != row.verdicts.end();
    EXPECT_EQ(*agrees, ok) << row.id;
  }
}

// What each row of the audit was found to be: the words, by hand.
TEST(Audit, Verdicts) {
  const std::map<std::string, std::string> wanted = {
      {"H1", "CONTRA"},      {"H2", "DIR"},        {"H3", "OK"},           {"H4a", "CONTRA"},
      {"H4b", "CONTRA"},     {"H5a", "OK CONTRA"}, {"H7", "UNSUP"},        {"M1", "OK"},
      {"M2", "OK"},          {"M3", "OK"},         {"M4a", "OK DIR"},      {"M5", "DIR"},
      {"M6", "ARITH"},       {"M7", "CONTRA"},     {"M8", "FALSE UNSUP"},  {"M9", "UNSUP"},
      {"D1a", "OK"},         {"D1b", "UNIT"},      {"D2", "CONTRA"},       {"D3a", "CONTRA"},
      {"D3h", "CONTRA"},     {"D4", "CONTRA"},     {"D5", "CONTRA"},       {"D6a", "CONTRA"},
      {"D7a", "OK DIR"},     {"D8", "FALSE"},      {"D9", "UNSUP"},        {"D10", "UNSUP"},
      {"G1", "FALSE"},       {"G2a", "ARITH"},     {"G3", "DIR"},          {"G4", "UNSUP"},
      {"G5", "CONTRA"},      {"T1a", "OK"},        {"T2b", "OK"},          {"T3b", "OK"},
      {"T4a", "DIR"},        {"T5a", "CONTRA"},    {"T5c", "DIR"},         {"T6", "UNSUP"},
      {"S1", "OK"},          {"S2", "CONTRA"},     {"S3a", "UNIT CONTRA"}, {"S3b", "UNIT"},
      {"S4a", "OK"},         {"S5", "CONTRA"},     {"S6", "FALSE"},        {"S7", "OK"},
      {"V1a", "OK UNSUP"},   {"V1b", "OK UNSUP"},  {"V1c", "OK UNSUP"},    {"V2", "FALSE"},
      {"V3", "UNSUP"},       {"E1a", "OK"},        {"E2", "CONTRA"},       {"E3a", "OK"},
      {"E4a", "OK CONTRA"},  {"E4c", "CONTRA"},    {"E5a", "DIR"},         {"F1a", "OK"},
      {"F2a", "CONTRA"},     {"F3a", "CONTRA"},    {"F4", "FALSE"},        {"F5", "DIR"},
      {"F6a", "OK"},         {"P1", "FALSE"},      {"P2", "FALSE"},        {"P3", "ARITH"},
      {"P4a", "OK"},         {"P5a", "CONTRA"},    {"R1", "UNIT"},         {"R2", "UNIT ARITH"},
      {"R3", "UNIT ARITH"},  {"R4", "UNIT ARITH"}, {"R5", "UNIT ARITH"},   {"R5b", "OK"},
      {"R6", "FALSE ARITH"}, {"R7b", "OK"},        {"R8a", "OK"},          {"R9", "DIR"},
      {"B1", "CONTRA"},      {"B2", "UNSUP"},      {"B3", "UNSUP"}};
  std::map<std::string, std::string> found;
  for (const AuditRow& row : rows()) {
    EXPECT_TRUE(found.emplace(row.id, fmt::format("{}", fmt::join(row.verdicts, " "))).second)
        << row.id << " twice";
  }
  EXPECT_EQ(found.size(), 141u);
  for (const auto& [id, verdict] : wanted) EXPECT_EQ(found[id], verdict) << id;
}

// Figures that the chapter is best known for, by hand.
TEST(Audit, ByHand) {
  std::map<std::string, Range> ours;
  for (const AuditRow& row : rows()) {
    if (row.ours) ours[row.id] = *row.ours;
  }
  EXPECT_NEAR(ours["R1"].low, 60000, 1e-6);
  EXPECT_NEAR(ours["R5"].low, 29.6, 1e-9);        // percent
  EXPECT_NEAR(ours["R6"].low, 500.0 / 54, 1e-9);  // months
  EXPECT_NEAR(ours["H1"].low, 5000, 1e-6);
  EXPECT_NEAR(ours["H1"].high, 10000, 1e-6);
  EXPECT_NEAR(ours["S3a"].low, 0.14, 1e-12);
  EXPECT_NEAR(ours["D6a"].low, 1125, 1e-6);
  EXPECT_NEAR(ours["F2a"].low, 1 / 0.14, 1e-9);
}

TEST(Audit, SaysWhichRowIsWrong) {
  const std::string good(
      R"({"id":"X","section":"1","chapter_expr":"e","chapter_value":1,"unit":"USD","inputs":{"a":"1 USD"},"formula":"a","our_value":1,"tol":0,"verdicts":["OK"],"reason":"r","kind":"computed"})");
  ASSERT_TRUE(read_audit(good));
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    const auto list = read_audit(text);
    return list ? "none" : list.error().message;
  };
  EXPECT_THAT(changed("\"unit\":\"USD\"", "\"unit\":\"USD/tok\""), HasSubstr("not to USD/tok"));
  EXPECT_THAT(changed("\"formula\":\"a\"", "\"formula\":\"b\""), HasSubstr("no input b"));
  EXPECT_THAT(changed("\"OK\"", "\"FINE\""), HasSubstr("verdicts"));
  EXPECT_THAT(changed("\"1 USD\"", "\"1 USDD\""), HasSubstr("no unit"));
  EXPECT_THAT(changed("computed", "judged"), HasSubstr("kind"));
  EXPECT_THAT(changed("{\"id\"", "{\"id"), HasSubstr("no JSON"));
}

TEST(Formula, ByHand) {
  const std::map<std::string, Amount> names = {
      {"a", {6, Money::kDim}}, {"b", {2, Tokens::kDim}}, {"n", {3, {}}}};
  const auto value = [&](const char* text) {
    const auto amount = evaluate(text, names);
    EXPECT_TRUE(amount) << text << ": " << amount.error().message;
    return amount ? *amount : Amount{};
  };
  EXPECT_EQ(value("a / b").value, 3);
  EXPECT_EQ(value("a / b").dim, TokenPrice::kDim);
  EXPECT_EQ(value("1 + 2 * n - 4 / 2").value, 5);
  EXPECT_EQ(value("-(a - 2 * a) * n").value, 18);
  EXPECT_NEAR(value("power(n, 2)").value, 9, 1e-12);
  EXPECT_NEAR(value("fall(4)").value, 0.75, 1e-12);
}

TEST(Formula, SaysWhatIsWrong) {
  const std::map<std::string, Amount> names = {{"a", {6, Money::kDim}}, {"b", {2, Tokens::kDim}}};
  for (const std::string& text : {std::string("a + b"),
                                  std::string("a +"),
                                  std::string("c"),
                                  std::string("f(a)"),
                                  std::string("power(a, 2)"),
                                  std::string("power(1)"),
                                  std::string("(a"),
                                  std::string("a)"),
                                  std::string("a b"),
                                  std::string(""),
                                  std::string("1 / 0"),
                                  std::string("a $ b"),
                                  std::string("roi(a, a, a, a, a)"),
                                  std::string(100000, '('),
                                  std::string(100000, '-')}) {
    EXPECT_FALSE(evaluate(text, names)) << text.substr(0, 30);
  }
}

}  // namespace
}  // namespace farthing
