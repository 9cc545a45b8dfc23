#include "core/top_k.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace farthing {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<Candidate> sorted(std::span<const float> values, int32_t k) {
  std::vector<Candidate> all;
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] > -kInfinity) all.push_back({static_cast<TokenId>(i), values[i]});
  }
  std::sort(all.begin(), all.end(), better);
  all.resize(std::min(all.size(), static_cast<size_t>(k)));
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return all;
}

std::vector<float> values_with_ties(std::mt19937& random, size_t n) {
  std::vector<float> values(n);
  for (float& v : values) v = static_cast<float>(random() % 50);
  for (size_t i = random() % 3; i > 0 && n > 0; --i) values[random() % n] = -kInfinity;
  for (size_t i = random() % 3; i > 0 && n > 0; --i) values[random() % n] = std::nanf("");
  if (random() % 4 == 0 && n > 0) values[random() % n] = kInfinity;
  return values;
}

TEST(TopK, IsTheFrontOfASort) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    const std::vector<float> values = values_with_ties(random, random() % 300);
    for (int32_t k : {0, 1, 2, 7, 64}) EXPECT_EQ(top_k_of(values, k), sorted(values, k));
    const std::vector<Candidate> best = sorted(values, 1);
    EXPECT_EQ(best_of(values).id, best.empty() ? -1 : best.front().id);
  }
}

// In pieces, each to one of several gatherers that are merged at the end.
TEST(TopK, DoesNotDependOnWhoGathersWhat) {
  std::mt19937 random(2);
  TopK gatherers[3];
  for (int round = 0; round < 1000; ++round) {
    const std::vector<float> values = values_with_ties(random, 1 + random() % 1000);
    const int32_t k = 1 + static_cast<int32_t>(random() % 20);
    for (TopK& g : gatherers) g.start(k);
    for (size_t i = 0; i < values.size();) {
      const size_t count = std::min<size_t>(1 + random() % 100, values.size() - i);
      gatherers[random() % 3].add(std::span(values).subspan(i, count), static_cast<TokenId>(i));
      i += count;
    }
    gatherers[0].merge(gatherers[1]);
    gatherers[0].merge(gatherers[2]);
    const auto got = gatherers[0].finish();
    EXPECT_EQ(std::vector<Candidate>(got.begin(), got.end()), sorted(values, k));
  }
}

}  // namespace
}  // namespace farthing
