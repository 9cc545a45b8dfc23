// The encoders against slow twins that try (nearly) every scale, and on blocks that break rules of
// thumb.
#include "quant/quantize.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/half.h"
#include "quant/fit.h"
#include "quant/format.h"
#include "quant/layout.h"

namespace farthing {
namespace {

using Values = std::vector<float>;

double weighted_error(const Values& x, const Values& y, const Values& w) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += double{w[i]} * (x[i] - y[i]) * (x[i] - y[i]);
  return sum;
}

std::vector<std::byte> encoded(const Format& f, const Values& x, const float* weights) {
  std::vector<std::byte> bytes(
      static_cast<size_t>(bytes_for(f.type, static_cast<int64_t>(x.size()))));
  quantizer_of(f.type)(x.data(), weights, bytes.data(), static_cast<int64_t>(x.size()));
  return bytes;
}

Values there_and_back(const Format& f, const Values& x, const float* weights) {
  const std::vector<std::byte> bytes = encoded(f, x, weights);
  Values y(x.size());
  f.decode(bytes.data(), y.data(), static_cast<int64_t>(y.size()));
  return y;
}

// Weights as models have them: bell-shaped with heavy tails, groups of different spread.
Values model_like(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::student_t_distribution<float> heavy(5);
  std::uniform_real_distribution<float> spread(0.3f, 2.0f);
  Values x(static_cast<size_t>(n));
  float scale = 1;
  for (size_t i = 0; i < x.size(); ++i) {
    if (i % 16 == 0) scale = 0.02f * spread(random);
    x[i] = scale * heavy(random);
  }
  return x;
}
Values importance_like(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::lognormal_distribution<float> wide(0, 1.5f);
  Values w(static_cast<size_t>(n));
  for (float& v : w) v = wide(random);
  return w;
}

// ---- slow twins: the least error of one quant block, by trying ----

// Every f16 that could be the scale of 32 values.
double every_scale(const Values& x, const Values& w, float low, float high) {
  float widest = 0;
  for (const float v : x) widest = std::max(widest, std::fabs(v));
  double least = std::numeric_limits<double>::infinity();
  const uint16_t from = f32_to_f16(widest / high * 0.4f), to = f32_to_f16(widest / high * 1.6f);
  for (uint16_t bits = from; bits <= to; ++bits) {
    for (const float d : {f16_to_f32(bits), -f16_to_f32(bits)}) {
      double error = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const float q = d != 0 ? std::clamp(std::nearbyint(x[i] / d), low, high) : 0;
        error += double{w[i]} * (x[i] - d * q) * (x[i] - d * q);
      }
      least = std::min(least, error);
    }
  }
  return least;
}

// A fine grid of lines, each followed down by least squares; scales in f32.
double every_line(const Values& x, const Values& w, float top) {
  const auto [low, high] = std::minmax_element(x.begin(), x.end());
  const float range = *high - *low;
  double least = std::numeric_limits<double>::infinity();
  for (int a = -4; a <= 32; ++a) {
    for (int b = -4; b <= 32; ++b) {
      double d = range * (1 - (a + b) * 0.01) / top, m = *low + range * a * 0.01;
      for (int step = 0; step < 4 && d > 0; ++step) {
        double sw = 0, sx = 0, sq = 0, sqq = 0, sxq = 0;
        for (size_t i = 0; i < x.size(); ++i) {
          const double q = std::clamp(std::nearbyint((x[i] - m) / d), 0.0, double{top});
          sw += w[i], sx += w[i] * x[i], sq += w[i] * q, sqq += w[i] * q * q,
              sxq += w[i] * x[i] * q;
        }
        const double det = sw * sqq - sq * sq;
        if (det <= 0) break;
        d = (sw * sxq - sx * sq) / det;
        m = (sqq * sx - sq * sxq) / det;
        double error = 0;
        for (size_t i = 0; i < x.size(); ++i) {
          const double q = d > 0 ? std::clamp(std::nearbyint((x[i] - m) / d), 0.0, double{top}) : 0;
          error += w[i] * (x[i] - d * q - m) * (x[i] - d * q - m);
        }
        least = std::min(least, error);
      }
    }
  }
  return least;
}

struct Twin {
  DType type;
  std::function<double(const Values& x, const Values& w)> least;  // of one block of 32
  double most;  // times the twin's that the encoder's error may be, in the mean of many blocks
  double most_weighted;
};

class WithTwin : public testing::TestWithParam<Twin> {};

TEST_P(WithTwin, LosesLittleMoreThanTryingEveryScale) {
  const Format& f = format_of(GetParam().type);
  for (const bool weighted : {false, true}) {
    double got = 0, least = 0;
    for (unsigned block = 0; block < 24; ++block) {
      const Values x = model_like(32, block);
      const Values w = weighted ? importance_like(32, block + 100) : Values(32, 1.0f);
      got += weighted_error(x, there_and_back(f, x, weighted ? w.data() : nullptr), w);
      least += GetParam().least(x, w);
    }
    EXPECT_LE(got, least * (weighted ? GetParam().most_weighted : GetParam().most)) << f.name;
    EXPECT_GE(got, least * 0.97) << f.name << ": the twin must be at least as good";
  }
}

Twin scales(DType type, float low, float high, double most, double most_weighted) {
  return {type,
          [=](const Values& x, const Values& w) { return every_scale(x, w, low, high); },
          most,
          most_weighted};
}
Twin lines(DType type, float top, double most, double most_weighted) {
  return {type,
          [=](const Values& x, const Values& w) { return every_line(x, w, top); },
          most,
          most_weighted};
}

INSTANTIATE_TEST_SUITE_P(Types,
                         WithTwin,
                         testing::Values(scales(DType::kQ4_0, -8, 7, 1.005, 1.02),
                                         scales(DType::kQ5_0, -16, 15, 1.005, 1.03),
                                         scales(DType::kQ8_0, -127, 127, 1.06, 1.15),
                                         lines(DType::kQ4_1, 15, 1.03, 1.05),
                                         lines(DType::kQ5_1, 31, 1.04, 1.08)),
                         [](const auto& p) { return std::string(format_of(p.param.type).name); });

// ---- K formats: no other integers, nor factors nearby, do noticeably better ----

struct Factors {
  double d, dmin;
};

// The least error of a super-block with these factors: every pair of integers for every sub-block.
double every_pair(const Values& x, const Values& w, Factors f, int top) {
  double sum = 0;
  for (int s = 0; s < 8; ++s) {
    double least = std::numeric_limits<double>::infinity();
    for (int scale = 0; scale < 64; ++scale) {
      for (int min = 0; min < 64; ++min) {
        const float d = static_cast<float>(f.d * scale), m = static_cast<float>(f.dmin * min);
        const float by = d > 0 ? 1 / d : 0;
        double error = 0;
        for (size_t i = static_cast<size_t>(s) * 32; i < static_cast<size_t>(s) * 32 + 32; ++i) {
          const float t = (x[i] + m) * by;
          const int q = t < 0 ? 0 : t > static_cast<float>(top) ? top : static_cast<int>(t + 0.5f);
          const float e = x[i] + m - d * static_cast<float>(q);
          error += w[i] * e * e;
          if (error > least) break;
        }
        least = std::min(least, error);
      }
    }
    sum += least;
  }
  return sum;
}

template <class QBlock>
void expect_good_pairs(DType type, int top) {
  const Format& f = format_of(type);
  double got = 0, least = 0;
  for (unsigned block = 0; block < 3; ++block) {
    const Values x = model_like(256, block);
    const Values w = block == 0 ? Values(256, 1.0f) : importance_like(256, block);
    const std::vector<std::byte> bytes = encoded(f, x, w.data());
    QBlock packed;
    std::memcpy(&packed, bytes.data(), sizeof packed);
    Values y(256);
    f.decode(bytes.data(), y.data(), 256);
    got += weighted_error(x, y, w);
    double best = std::numeric_limits<double>::infinity();
    for (const double a : {0.97, 1.0, 1.03}) {
      for (const double b : {0.97, 1.0, 1.03}) {
        const Factors factors{f16_to_f32(packed.d) * a, f16_to_f32(packed.dmin) * b};
        best = std::min(best, every_pair(x, w, factors, top));
      }
    }
    least += best;
  }
  EXPECT_LE(got, least * 1.05) << f.name;
  EXPECT_GE(got, least * 0.999) << f.name;
}

TEST(Quantize, Q4_KTakesTheBestIntegers) {
  expect_good_pairs<QBlockQ4_K>(DType::kQ4_K, 15);
}
TEST(Quantize, Q5_KTakesTheBestIntegers) {
  expect_good_pairs<QBlockQ5_K>(DType::kQ5_K, 31);
}

TEST(Quantize, Q6_KTakesTheBestIntegers) {
  const Format& f = format_of(DType::kQ6_K);
  double got = 0, least = 0;
  for (unsigned block = 0; block < 6; ++block) {
    const Values x = model_like(256, block);
    const Values w = block % 2 == 0 ? Values(256, 1.0f) : importance_like(256, block);
    const std::vector<std::byte> bytes = encoded(f, x, w.data());
    QBlockQ6_K packed;
    std::memcpy(&packed, bytes.data(), sizeof packed);
    Values y(256);
    f.decode(bytes.data(), y.data(), 256);
    got += weighted_error(x, y, w);
    double best = std::numeric_limits<double>::infinity();
    for (double a = 0.9; a < 1.1; a += 0.01) {
      double sum = 0;
      for (size_t s = 0; s < 16; ++s) {
        double of_sub = std::numeric_limits<double>::infinity();
        for (int scale = -128; scale < 128; ++scale) {
          const float d = static_cast<float>(f16_to_f32(packed.d) * a * scale);
          const float by = d != 0 ? 1 / d : 0;
          double error = 0;
          for (size_t i = s * 16; i < s * 16 + 16; ++i) {
            const float q = std::nearbyint(std::clamp(x[i] * by, -32.0f, 31.0f));
            error += double{w[i]} * (x[i] - d * q) * (x[i] - d * q);
          }
          of_sub = std::min(of_sub, error);
        }
        sum += of_sub;
      }
      best = std::min(best, sum);
    }
    least += best;
  }
  EXPECT_LE(got, least * 1.1);
  EXPECT_GE(got, least * 0.999);
}

// ---- every type ----

class EveryQuantizer : public testing::TestWithParam<Format> {
 protected:
  const Format& f = GetParam();
  // Steps of the type in half its range: values that one scale serves come back within 1 / kSteps.
  double step() const {
    const std::string_view name = f.name;
    return name.starts_with("Q8")   ? 1 / 127.0
           : name.starts_with("Q6") ? 1 / 31.0
           : name.starts_with("Q5") ? 1 / 15.0
                                    : 1 / 7.0;
  }
};

TEST_P(EveryQuantizer, ZeroesStayZeroes) {
  const Values x(256, 0.0f);
  for (const float v : there_and_back(f, x, nullptr)) EXPECT_EQ(v, 0.0f);
  const Values w(256, 0.0f);
  for (const float v : there_and_back(f, x, w.data())) EXPECT_EQ(v, 0.0f);
}

TEST_P(EveryQuantizer, ConstantsComeBack) {
  for (const float c : {1.0f, -1.0f, 0.0123f, -777.0f, 60000.0f, 1e-3f}) {
    const Values x(256, c);
    // A scale has 11 bits, an integer scale of a super-block at least 6.
    for (const float v : there_and_back(f, x, nullptr)) EXPECT_NEAR(v, c, std::fabs(c) * 0.01) << c;
  }
}

TEST_P(EveryQuantizer, EachValueIsWithinAStep) {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> even(-1, 1);
  Values x(4096);
  for (float& v : x) v = even(random);
  const Values y = there_and_back(f, x, nullptr);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], y[i], step() * 1.2) << i;
}

TEST_P(EveryQuantizer, OneOutlierKeepsItsValue) {
  for (const float peak : {100.0f, -100.0f}) {
    Values x = model_like(256, 5);
    x[77] = peak;
    const Values y = there_and_back(f, x, nullptr);
    EXPECT_NEAR(y[77], peak, 2);
    for (const float v : y) EXPECT_TRUE(std::isfinite(v));
    // Other blocks don't see it.
    const size_t block = static_cast<size_t>(f.qblock_values);
    Values others = model_like(256, 5);
    const Values without = there_and_back(f, others, nullptr);
    for (size_t i = 0; i < 256; ++i) {
      if (i / block != 77 / block) {
        EXPECT_EQ(y[i], without[i]) << i;
      }
    }
  }
}

TEST_P(EveryQuantizer, TinyValuesBecomeZeroOrNearIt) {
  for (const float tiny : {1e-45f, 1e-40f, 1e-30f, 1e-12f, 2e-8f}) {
    Values x(256, tiny);
    x[3] = -tiny;
    for (const float v : there_and_back(f, x, nullptr)) EXPECT_LE(std::fabs(v), 6e-8f) << tiny;
  }
  // Around the smallest scale that f16 has: nothing is off by more than that.
  Values x = model_like(256, 8);
  for (float& v : x) v *= 1e-6f;
  const Values y = there_and_back(f, x, nullptr);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], y[i], 4e-7f) << i;
}

TEST_P(EveryQuantizer, WhatIsTooLargeIsSeen) {
  for (const float huge : {1e9f, -1e30f, std::numeric_limits<float>::max()}) {
    Values x(256, 1.0f);
    x[40] = huge;
    const Values y = there_and_back(f, x, nullptr);
    EXPECT_FALSE(std::isfinite(y[40])) << huge;
  }
  Values x(256, -1.0f);
  x[9] = 65000.0f;
  for (const float v : there_and_back(f, x, nullptr)) EXPECT_TRUE(std::isfinite(v));
}

TEST_P(EveryQuantizer, WeightsOfZeroCountAlike) {
  const Values x = model_like(512, 11);
  const Values none(512, 0.0f);
  EXPECT_EQ(encoded(f, x, none.data()), encoded(f, x, nullptr));
  const Values ones(512, 1.0f);
  EXPECT_EQ(encoded(f, x, ones.data()), encoded(f, x, nullptr));
}

TEST_P(EveryQuantizer, WeightsMoveTheErrorToWhereItCountsLess) {
  const Values x = model_like(4096, 12), w = importance_like(4096, 13);
  const double with = weighted_error(x, there_and_back(f, x, w.data()), w);
  const double without = weighted_error(x, there_and_back(f, x, nullptr), w);
  EXPECT_LT(with, 0.95 * without);
  const Values ones(4096, 1.0f);
  EXPECT_GT(weighted_error(x, there_and_back(f, x, w.data()), ones),
            weighted_error(x, there_and_back(f, x, nullptr), ones));
}

TEST_P(EveryQuantizer, LosesLessThanTheWidestValueDecides) {
  // The rule of thumb: each group's scale takes its widest value (or its range) just in.
  const Values x = model_like(8192, 14);
  const std::string_view name = f.name;
  const bool line = name == "Q4_1" || name == "Q5_1" || name == "Q4_K" || name == "Q5_K";
  const size_t group = name == "Q6_K" ? 16 : 32;
  const float steps = name.starts_with("Q8")   ? 127
                      : name.starts_with("Q6") ? 32
                      : name.starts_with("Q5") ? (line ? 31 : 16)
                                               : (line ? 15 : 8);
  double simple = 0;
  for (size_t at = 0; at < x.size(); at += group) {
    float low = line ? x[at] : 0, high = x[at], widest = 0;
    for (size_t i = at; i < at + group; ++i) {
      low = std::min(low, x[i]);
      high = std::max(high, x[i]);
      if (std::fabs(x[i]) > std::fabs(widest)) widest = x[i];
    }
    const float d = line ? (high - low) / steps : widest / -steps, m = line ? low : 0;
    for (size_t i = at; i < at + group; ++i) {
      const float most = line ? steps : steps == 127 ? 127 : steps - 1;
      const float q = std::clamp(std::nearbyint((x[i] - m) / d), line ? 0 : -steps, most);
      simple += (x[i] - m - d * q) * (x[i] - m - d * q);
    }
  }
  const Values ones(x.size(), 1.0f);
  // Q4_K and Q5_K pay for scales of 6 bits what the search wins.
  EXPECT_LT(weighted_error(x, there_and_back(f, x, nullptr), ones), simple * 0.99);
}

TEST_P(EveryQuantizer, OneBlockAtATimeIsTheSameAndAnyAddressWillDo) {
  const Values x = model_like(1024, 15), w = importance_like(1024, 16);
  const std::vector<std::byte> all = encoded(f, x, w.data());
  std::vector<std::byte> moved(all.size() + 1);
  quantizer_of(f.type)(x.data(), w.data(), moved.data() + 1, 1024);
  EXPECT_EQ(std::memcmp(all.data(), moved.data() + 1, all.size()), 0);
  for (int64_t at = 0; at < 1024; at += f.qblock_values) {
    quantizer_of(f.type)(x.data() + at, w.data() + at, moved.data(), f.qblock_values);
    EXPECT_EQ(std::memcmp(all.data() + bytes_for(f.type, at), moved.data(), f.qblock_bytes), 0);
  }
}

std::vector<Format> quantizers() {
  std::vector<Format> out;
  for (const Format& f : all_formats()) {
    if (quantizer_of(f.type) != nullptr) out.push_back(f);
  }
  return out;
}
INSTANTIATE_TEST_SUITE_P(Types, EveryQuantizer, testing::ValuesIn(quantizers()), [](const auto& p) {
  return std::string(p.param.name);
});

TEST(Quantize, EveryTypeThatIsWrittenIsHere) {
  EXPECT_EQ(quantizers().size(), 8u);
}

// What a search found once it must find again: a second time over, nothing is lost.
TEST_P(EveryQuantizer, TwiceIsOnce) {
  const Values x = model_like(4096, 17);
  const Values once = there_and_back(f, x, nullptr);
  const Values twice = there_and_back(f, once, nullptr);
  const Values ones(x.size(), 1.0f);
  EXPECT_LE(weighted_error(once, twice, ones), 0.12 * weighted_error(x, once, ones));
}

}  // namespace
}  // namespace farthing
