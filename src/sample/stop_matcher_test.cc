#include "sample/stop_matcher.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "sample/stop_matcher_for_tests.h"

namespace farthing {

static void PrintTo(const StopOutcome& o, std::ostream* os) {
  *os << '"' << o.text << '"' << (o.stopped ? " stopped" : "");
}

namespace {

// Pushes `text` cut at the set bits of `cuts`, and checks after each push that only safe text came
// out.
StopOutcome run(const std::string& text,
                const std::vector<std::string>& stops,
                bool include_stop,
                uint64_t cuts) {
  const StopOutcome want = stop_outcome(text, stops, include_stop);
  StopMatcher matcher(stops, include_stop);
  StopOutcome got;
  std::string piece;
  for (size_t i = 0; i < text.size(); ++i) {
    piece += text[i];
    if (!(cuts >> i & 1) && i + 1 < text.size()) continue;
    const StopMatcher::Step step = matcher.push(piece);
    piece.clear();
    got.text += step.text;
    EXPECT_EQ(want.text.compare(0, got.text.size(), got.text), 0) << "leaked: " << got.text;
    if (step.stopped) {
      got.stopped = true;
      EXPECT_EQ(matcher.push("more").text, "");
      EXPECT_TRUE(matcher.push("more").stopped);
      break;
    }
  }
  got.text += matcher.finish();
  return got;
}

TEST(StopMatcherTest, EveryCutGivesWhatTheWholeTextGives) {
  struct Case {
    std::string text;
    std::vector<std::string> stops;
  };
  const std::vector<Case> cases = {
      {"hello", {}},
      {"hello", {""}},
      {"one\nUser: x", {"\nUser:"}},
      {"one\nUse less", {"\nUser:"}},
      {"one\nUser", {"\nUser:"}},
      {"aaaaab", {"aab"}},
      {"abababac", {"ababac"}},
      {"abcabcabd", {"abcabd", "cabx"}},
      {"xabcdx", {"abcd", "bc"}},     // the inner one completes first
      {"xabcx", {"abc", "bc", "c"}},  // all complete at once: the longest
      {"xabx", {"ab", "ab"}},
      {"aaaa", {"a"}},
      {"caf\xC3\xA9 cr\xC3\xA8me", {"\xC3\xA8"}},
      {"abcab", {"abcabc"}},
  };
  for (const Case& c : cases) {
    for (bool include_stop : {false, true}) {
      for (uint64_t cuts = 0; cuts < uint64_t{1} << (c.text.size() - 1); ++cuts) {
        ASSERT_EQ(run(c.text, c.stops, include_stop, cuts),
                  stop_outcome(c.text, c.stops, include_stop))
            << c.text << " cut at " << cuts;
      }
    }
  }
}

TEST(StopMatcherTest, RandomTextsOverASmallAlphabet) {
  std::mt19937_64 random(7);
  const auto word = [&](size_t most) {
    std::string s(random() % most + 1, 'a');
    for (char& c : s) c = static_cast<char>('a' + random() % 2);
    return s;
  };
  int stopped = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> stops;
    for (uint64_t n = random() % 3 + 1; n > 0; --n) stops.push_back(word(8));
    const std::string text = word(40);
    const bool include_stop = random() % 2;
    const StopOutcome got = run(text, stops, include_stop, random());
    ASSERT_EQ(got, stop_outcome(text, stops, include_stop)) << text << " with " << stops[0];
    stopped += got.stopped;
  }
  EXPECT_GT(stopped, 5000);  // both outcomes were really tested
  EXPECT_LT(stopped, 19500);
}

TEST(StopMatcherTest, HoldsBackNoMoreThanItMust) {
  StopMatcher matcher({"END"}, false);
  EXPECT_EQ(matcher.push("the E").text, "the ");
  EXPECT_EQ(matcher.push("N").text, "");
  EXPECT_EQ(matcher.push("ERGY").text, "ENERGY");
  EXPECT_EQ(matcher.push("").text, "");
  EXPECT_EQ(matcher.push("E").text, "");
  EXPECT_EQ(matcher.push("").text, "");
  EXPECT_EQ(matcher.finish(), "E");
}

// Sixteen stop strings "aaa...b" of 256 bytes against a text of a's: naive search is 256 times
// slower.
TEST(StopMatcherTest, HostileStopStringsStayLinear) {
  std::vector<std::string> stops;
  for (int i = 0; i < 16; ++i) stops.push_back(std::string(240 + i, 'a') + "b");
  const auto seconds_for = [&](size_t bytes) {
    StopMatcher matcher(stops, false);
    const auto start = std::chrono::steady_clock::now();
    size_t out = 0;
    for (size_t i = 0; i < bytes; ++i) out += matcher.push(i % 251 == 250 ? "c" : "a").text.size();
    EXPECT_EQ(out + matcher.finish().size(), bytes);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  // 1 MiB takes some 0.1 s; quadratic work would take minutes.
  EXPECT_LT(seconds_for(1 << 20), 10.0);
}

}  // namespace
}  // namespace farthing
