#include "base/chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace farthing {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Chart, ShortNumbers) {
  EXPECT_EQ(short_number(0), "0");
  EXPECT_EQ(short_number(1111480.09), "1.111M");
  EXPECT_EQ(short_number(-500000), "-500k");
  EXPECT_EQ(short_number(1234), "1234");
  EXPECT_EQ(short_number(12.345), "12.35");
  EXPECT_EQ(short_number(0.000667), "0.000667");
  EXPECT_EQ(short_number(0.0000024), "0.00000240");
  EXPECT_EQ(short_number(999999.9), "1M");
  EXPECT_EQ(short_number(1e-12), "1.00e-12");
  EXPECT_EQ(short_number(1.4e12), "1.4T");
  EXPECT_EQ(short_number(NAN), "-");
  EXPECT_EQ(short_number(INFINITY), "-");
}

TEST(Chart, TextIsEscaped) {
  EXPECT_EQ(html_text("<b a=\"1\">&'"), "&lt;b a=&quot;1&quot;&gt;&amp;&#39;");
  const std::string page =
      html_page("<script>",
                {svg(BarChart{.title = "<script>", .bars = {{"<script>", 0, 1, "<script>"}}}),
                 html({.title = "<script>", .header = {"<script>"}, .rows = {{"<script>"}}})});
  EXPECT_THAT(page, Not(HasSubstr("<script>")));
}

// Twice the value, twice the width.
TEST(Chart, BarsAreToScale) {
  const std::string text = svg(BarChart{.title = "t", .bars = {{"a", 0, 1, ""}, {"b", 0, 2, ""}}});
  EXPECT_THAT(text, HasSubstr("width=\"220.0\""));
  EXPECT_THAT(text, HasSubstr("width=\"440.0\""));
}

TEST(Chart, NothingButFiniteNumbersIsDrawn) {
  for (const bool log : {false, true}) {
    const std::string lines = svg(LineChart{
        .title = "t",
        .series = {{.label = "s",
                    .points = {{0, NAN}, {1, INFINITY}, {2, -1}, {3, 0}, {4, 5}, {NAN, 3}},
                    .band = {{NAN, 1}, {1, INFINITY}, {-1, 1}}}},
        .log_x = log,
        .log_y = log});
    EXPECT_THAT(lines, Not(HasSubstr("nan")));
    EXPECT_THAT(lines, Not(HasSubstr("inf")));
    const std::string bars =
        svg(BarChart{.title = "t",
                     .bars = {{"a", NAN, 1, ""}, {"b", 0, INFINITY, ""}, {"c", -1, 4, ""}},
                     .log_scale = log});
    EXPECT_THAT(bars, Not(HasSubstr("nan")));
    EXPECT_THAT(bars, Not(HasSubstr("inf")));
  }
  EXPECT_EQ(svg(BarChart{}).find("nan"), std::string::npos);
  EXPECT_EQ(svg(LineChart{}), "");
}

TEST(Chart, OnePointIsDrawn) {
  EXPECT_THAT(
      svg(LineChart{.title = "t", .series = {{.label = "s", .points = {{1, 1}}, .dots = true}}}),
      HasSubstr("<circle"));
}

}  // namespace
}  // namespace farthing
