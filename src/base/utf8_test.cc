#include "base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace farthing {
namespace {

TEST(Utf8, ValidPrefixStopsAtTheFirstBadByte) {
  struct Case {
    std::string bytes;
    size_t valid;
  };
  const Case cases[] = {
      {"", 0},
      {"plain", 5},
      {"\xC3\xA9", 2},
      {"\xE2\x82\xAC", 3},
      {"\xF0\x9F\x98\x80", 4},
      {"a\x80", 1},              // a continuation byte alone
      {"a\xC0\xAF", 1},          // overlong
      {"a\xE0\x80\xAF", 1},      // overlong
      {"a\xED\xA0\x80", 1},      // surrogate
      {"a\xF4\x90\x80\x80", 1},  // above U+10FFFF
      {"a\xF5\x80\x80\x80", 1},
      {"ab\xE2\x82", 2},            // cut short
      {std::string("a\0b", 3), 3},  // NUL is a character
  };
  for (const Case& c : cases) {
    EXPECT_EQ(utf8_valid_prefix(c.bytes), c.valid) << printable(c.bytes);
    EXPECT_EQ(is_utf8(c.bytes), c.valid == c.bytes.size());
  }
}

TEST(Utf8, PrintableIsOneHarmlessLine) {
  EXPECT_EQ(printable("llama.block_count"), "llama.block_count");
  EXPECT_EQ(printable("h\xC3\xA9"), "h\xC3\xA9");
  EXPECT_EQ(printable("a\nb\x1b[2J"), "a\\nb\\u{1b}[2J");
  EXPECT_EQ(printable("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(printable("\xE2\x80\xAE"), "\\u{202e}");
  EXPECT_EQ(printable(std::string("\0", 1)), "\\u{0}");
  EXPECT_EQ(printable(std::string(100, 'x'), 10), std::string(10, 'x') + "...");
  EXPECT_EQ(printable(std::string(10, 'x'), 10), std::string(10, 'x'));
}

}  // namespace
}  // namespace farthing
