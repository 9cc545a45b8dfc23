#include "measure/windows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "measure/perplexity.h"

namespace farthing {
namespace {

TEST(WindowsTest, SideBySideWithTheFirstTokenReplaced) {
  std::vector<TokenId> tokens(23);
  std::iota(tokens.begin(), tokens.end(), 100);
  const Windows windows(tokens, 8, 1, 0);
  EXPECT_EQ(windows.count(), 2);
  EXPECT_EQ(windows.at(0), (std::vector<TokenId>{1, 101, 102, 103, 104, 105, 106, 107}));
  EXPECT_EQ(windows.at(1), (std::vector<TokenId>{1, 109, 110, 111, 112, 113, 114, 115}));
  EXPECT_EQ(windows.first_scored(), 4);
  EXPECT_EQ(windows.n_scored(), 3);

  EXPECT_EQ(Windows(tokens, 8, -1, 0).at(1)[0], 108);
  EXPECT_EQ(Windows(tokens, 8, -1, 1).count(), 1);
  EXPECT_EQ(Windows(tokens, 8, -1, 9).count(), 2);
  EXPECT_EQ(Windows(tokens, 24, -1, 0).count(), 0);
  EXPECT_EQ(Windows(tokens, 23, -1, 0).count(), 1);
  EXPECT_EQ(Windows(tokens, 3, -1, 0).n_scored(), 1);
  EXPECT_EQ(Windows(tokens, 5, -1, 0).first_scored(), 2);
  EXPECT_EQ(Windows(std::vector<TokenId>(1024), 512, -1, 0).n_scored(), 255);
}

TEST(LikelihoodSumTest, MeanAndItsStandardError) {
  LikelihoodSum sum;
  EXPECT_EQ(sum.result().n_scored, 0);
  sum.add(2.0);
  EXPECT_DOUBLE_EQ(sum.result().value, std::exp(2.0));
  EXPECT_EQ(sum.result().standard_error, 0);
  sum.add(3.0);
  sum.add(7.0);
  // Mean 4, sample variance ((2-4)^2 + (3-4)^2 + (7-4)^2) / 2 = 7; error of the mean sqrt(7 / 3).
  EXPECT_DOUBLE_EQ(sum.result().value, std::exp(4.0));
  EXPECT_NEAR(sum.result().standard_error, std::exp(4.0) * std::sqrt(7.0 / 3), 1e-9);
  EXPECT_EQ(sum.result().n_scored, 3);
}

}  // namespace
}  // namespace farthing
