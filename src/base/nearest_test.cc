#include "base/nearest.h"

#include <gtest/gtest.h>

namespace farthing {
namespace {

TEST(Nearest, FindsTheWordMeant) {
  const std::vector<std::string> verbs = {"run", "serve", "inspect", "check", "bench", "quantize"};
  struct Case {
    const char* word;
    const char* meant;
  };
  const Case cases[] = {
      {"chekc", "check"},      // swapped
      {"inspekt", "inspect"},  // changed
      {"srve", "serve"},       // missing
      {"benchh", "bench"},     // one too many
      {"quantise", "quantize"},
      {"ru", "run"},
      {"check", "check"},
      {"frobnicate", ""},
      {"", ""},
      {"xyz", ""},
  };
  for (const Case& c : cases) EXPECT_EQ(nearest(c.word, verbs), c.meant) << c.word;
  EXPECT_EQ(nearest(std::string(1000, 'a'), verbs), "");
  EXPECT_EQ(nearest("check", {}), "");
}

}  // namespace
}  // namespace farthing
