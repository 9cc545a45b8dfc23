// Q4_K, Q5_K and Q6_K with the scales that lose least. Each sub-block is fitted by itself
// (quant/fit.h); then the super-block's factors make integers of those scales, and both are
// bettered in turn: every sub-block takes the best of the integers around its own, and the factors
// follow by least squares over all 256 values, until nothing gets better.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>

#include "base/half.h"
#include "quant/fit.h"
#include "quant/layout.h"
#include "quant/quantize.h"

namespace farthing {
namespace {

constexpr int kSuper = 256;
constexpr int kRounds = 8;             // of bettering; most blocks stop after three
constexpr uint16_t kNoScale = 0x7c00;  // decodes to no number, which the caller reports
using fit::Block;
using fit::Line;
using fit::Range;

bool too_large(const Block<kSuper>& block) {
  return std::any_of(
      block.x.begin(), block.x.end(), [](float v) { return !(std::fabs(v) <= fit::kLargest); });
}

template <class QBlock, class Fn>
void for_blocks(const float* src, const float* weights, std::byte* dst, int64_t n, Fn fn) {
  QBlock* out = reinterpret_cast<QBlock*>(dst);
  Block<kSuper> block;
  for (int64_t i = 0; i < n; i += kSuper, ++out) {
    block.fill(src + i, weights == nullptr ? nullptr : weights + i);
    *out = {};
    if (too_large(block)) {
      out->d = kNoScale;
      continue;
    }
    fn(block, *out);
  }
}

// ---- Q4_K, Q5_K: eight lines of 32 values, d * scale * q - dmin * min ----

constexpr int kLines = 8, kLine = 32;
constexpr int kMostScale = 63;

struct Lines {
  uint16_t d = 0, dmin = 0;
  std::array<int, kLines> scale{}, min{};
  float error = std::numeric_limits<float>::infinity();

  Line line(int s) const {
    return {f16_to_f32(d) * static_cast<float>(scale[s]),
            -f16_to_f32(dmin) * static_cast<float>(min[s])};
  }
};

class LineFitter {
 public:
  LineFitter(const Block<kSuper>& block, float top) : block_(block), top_(top) {
    for (int s = 0; s < kLines; ++s) {
      ideal_[s] = fit::best_line<kLine>(x(s), w(s), top, 0);
    }
  }

  Lines best() {
    // The widest scale is the most integer, or so near to it that another rounds better.
    Lines best;
    for (const float most : {63.0f, 60.0f, 56.0f}) {
      const Lines lines = bettered(start(most));
      if (lines.error < best.error) best = lines;
    }
    return best;
  }

 private:
  const float* x(int s) const { return block_.x.data() + s * kLine; }
  const float* w(int s) const { return block_.w.data() + s * kLine; }
  float error(int s, const Lines& lines) const {
    return fit::line_error<kLine>(x(s), w(s), lines.line(s), top_);
  }

  Lines start(float most) const {
    float scale = 0, min = 0;
    for (const Line& line : ideal_) {
      scale = std::max(scale, line.scale);
      min = std::max(min, -line.offset);
    }
    Lines lines;
    lines.d =
        f16_to_f32(f32_to_f16(scale / most)) > 0 ? f32_to_f16(scale / most) : f32_to_f16(scale);
    lines.dmin = f32_to_f16(min / most);
    const float d = f16_to_f32(lines.d), dmin = f16_to_f32(lines.dmin);
    for (int s = 0; s < kLines; ++s) {
      lines.scale[s] = d > 0 ? rounded(ideal_[s].scale / d) : 0;
      lines.min[s] = dmin > 0 ? rounded(-ideal_[s].offset / dmin) : 0;
    }
    return lines;
  }

  static int rounded(float v) {
    return static_cast<int>(std::lround(std::clamp(v, 0.0f, static_cast<float>(kMostScale))));
  }

  Lines bettered(Lines lines) const {
    lines.error = settle(lines);
    for (int round = 0; round < kRounds; ++round) {
      Lines next = lines;
      follow(next);
      next.error = settle(next);
      if (!(next.error < lines.error)) break;
      lines = next;
    }
    return lines;
  }

  // Each sub-block's integers, to the best of those around them; returns the error of all.
  float settle(Lines& lines) const {
    float sum = 0;
    for (int s = 0; s < kLines; ++s) sum += settle(lines, s);
    return sum;
  }

  float settle(Lines& lines, int s) const {
    float least = error(s, lines);
    for (bool moved = true; moved;) {
      moved = false;
      const int scale = lines.scale[s], min = lines.min[s];
      int best_scale = scale, best_min = min;
      for (int a = std::max(scale - 1, 0); a <= std::min(scale + 1, kMostScale); ++a) {
        for (int b = std::max(min - 1, 0); b <= std::min(min + 1, kMostScale); ++b) {
          if (a == scale && b == min) continue;
          lines.scale[s] = a;
          lines.min[s] = b;
          const float e = error(s, lines);
          if (e < least) {
            least = e;
            best_scale = a;
            best_min = b;
            moved = true;
          }
        }
      }
      lines.scale[s] = best_scale;
      lines.min[s] = best_min;
    }
    return least;
  }

  // d and dmin by least squares, with the integers as they are.
  void follow(Lines& lines) const {
    double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
    for (int s = 0; s < kLines; ++s) {
      const auto sums = fit::line_sums<kLine>(x(s), w(s), lines.line(s), top_);
      const double a = lines.scale[s], b = -lines.min[s];
      aa += a * a * sums.qq;
      ab += a * b * sums.q;
      bb += b * b * sums.w;
      xa += a * sums.xq;
      xb += b * sums.x;
    }
    const double det = aa * bb - ab * ab;
    double d = aa > 0 ? xa / aa : 0, dmin = 0;
    if (det > 1e-9 * aa * bb) {
      d = (bb * xa - ab * xb) / det;
      dmin = (aa * xb - ab * xa) / det;
    }
    if (d > 0 && d <= 65504) lines.d = f32_to_f16(static_cast<float>(d));
    if (dmin >= 0 && dmin <= 65504) lines.dmin = f32_to_f16(static_cast<float>(dmin));
  }

  const Block<kSuper>& block_;
  float top_;
  std::array<Line, kLines> ideal_;
};

// The inverse of scale_min_k4().
void put_scale_min(uint8_t (&packed)[12], int s, int scale, int min) {
  if (s < 4) {
    packed[s] |= static_cast<uint8_t>(scale);
    packed[4 + s] |= static_cast<uint8_t>(min);
    return;
  }
  const int t = s - 4;
  packed[8 + t] = static_cast<uint8_t>((scale & 15) | (min & 15) << 4);
  packed[t] |= static_cast<uint8_t>(scale >> 4 << 6);
  packed[4 + t] |= static_cast<uint8_t>(min >> 4 << 6);
}

template <class QBlock, class Put>
void quantize_lines(
    const float* src, const float* weights, std::byte* dst, int64_t n, float top, Put put) {
  for_blocks<QBlock>(src, weights, dst, n, [&](const Block<kSuper>& block, QBlock& out) {
    const Lines lines = LineFitter(block, top).best();
    out.d = lines.d;
    out.dmin = lines.dmin;
    for (int s = 0; s < kLines; ++s) {
      put_scale_min(out.scales, s, lines.scale[s], lines.min[s]);
      const Line line = lines.line(s);
      const fit::Lanes by = fit::all(line.scale > 0 ? 1 / line.scale : 0);
      for (int i = 0; i < kLine; i += 4) {
        const int v = s * kLine + i;
        const fit::Lanes q =
            fit::nearest((fit::load(block.x.data() + v) - fit::all(line.offset)) * by,
                         fit::all(0),
                         fit::all(top));
        for (int lane = 0; lane < 4; ++lane) put(out, v + lane, static_cast<int>(q[lane]));
      }
    }
  });
}

template <class QBlock>
void put_nibble(QBlock& out, int v, int q) {
  out.qs[v / 64 * 32 + v % 32] |= static_cast<uint8_t>((q & 15) << (v / 32 % 2 * 4));
}

// ---- Q6_K: sixteen scales of 16 values, d * scale * q ----

constexpr int kScales = 16, kScale = 16;
constexpr Range kRange6{-32, 31};
constexpr int kLeastScale6 = -128, kMostScale6 = 127;

struct Scales {
  uint16_t d = 0;
  std::array<int, kScales> scale{};
  float error = std::numeric_limits<float>::infinity();

  float of(int s) const { return f16_to_f32(d) * static_cast<float>(scale[s]); }
};

class ScaleFitter {
 public:
  explicit ScaleFitter(const Block<kSuper>& block) : block_(block) {
    for (int s = 0; s < kScales; ++s) ideal_[s] = fit::best_scale<kScale>(x(s), w(s), kRange6);
  }

  Scales best() const {
    float widest = 0;
    for (const float scale : ideal_) {
      if (std::fabs(scale) > std::fabs(widest)) widest = scale;
    }
    Scales best;
    for (const float most : {-128.0f, -120.0f, 120.0f}) {
      const Scales scales = bettered(start(widest / most));
      if (scales.error < best.error) best = scales;
    }
    return best;
  }

 private:
  const float* x(int s) const { return block_.x.data() + s * kScale; }
  const float* w(int s) const { return block_.w.data() + s * kScale; }
  float error(int s, const Scales& scales) const {
    return fit::scale_error<kScale>(x(s), w(s), scales.of(s), kRange6);
  }

  Scales start(float factor) const {
    Scales scales;
    scales.d = f32_to_f16(factor);
    const float d = f16_to_f32(scales.d);
    for (int s = 0; s < kScales; ++s) {
      const float v = d != 0 ? ideal_[s] / d : 0;
      scales.scale[s] = static_cast<int>(std::lround(
          std::clamp(v, static_cast<float>(kLeastScale6), static_cast<float>(kMostScale6))));
    }
    return scales;
  }

  Scales bettered(Scales scales) const {
    scales.error = settle(scales);
    for (int round = 0; round < kRounds; ++round) {
      Scales next = scales;
      follow(next);
      next.error = settle(next);
      if (!(next.error < scales.error)) break;
      scales = next;
    }
    return scales;
  }

  // Each sub-block's integer, to the best of those within an eighth: teeth of the saw lie between.
  float settle(Scales& scales) const {
    float sum = 0;
    for (int s = 0; s < kScales; ++s) {
      const int middle = scales.scale[s], reach = 1 + std::abs(middle) / 8;
      float least = error(s, scales);
      int best = middle;
      for (int a = std::max(middle - reach, kLeastScale6);
           a <= std::min(middle + reach, kMostScale6);
           ++a) {
        scales.scale[s] = a;
        const float e = error(s, scales);
        if (e < least) {
          least = e;
          best = a;
        }
      }
      scales.scale[s] = best;
      sum += least;
    }
    return sum;
  }

  void follow(Scales& scales) const {
    double aa = 0, xa = 0;
    for (int s = 0; s < kScales; ++s) {
      const float scale = scales.of(s);
      const auto sums = fit::scale_sums<kScale>(x(s), w(s), scale != 0 ? 1 / scale : 0, kRange6);
      const double a = scales.scale[s];
      aa += a * a * sums.qq;
      xa += a * sums.xq;
    }
    const double d = aa > 0 ? xa / aa : 0;
    if (d != 0 && std::fabs(d) <= 65504) scales.d = f32_to_f16(static_cast<float>(d));
  }

  const Block<kSuper>& block_;
  std::array<float, kScales> ideal_;
};

}  // namespace

void quantize_q4_k(const float* src, const float* weights, std::byte* dst, int64_t n) {
  quantize_lines<QBlockQ4_K>(
      src, weights, dst, n, 15, [](QBlockQ4_K& out, int v, int q) { put_nibble(out, v, q); });
}

void quantize_q5_k(const float* src, const float* weights, std::byte* dst, int64_t n) {
  quantize_lines<QBlockQ5_K>(src, weights, dst, n, 31, [](QBlockQ5_K& out, int v, int q) {
    put_nibble(out, v, q);
    out.qh[v % 32] |= static_cast<uint8_t>(q >> 4 << (v / 32));
  });
}

void quantize_q6_k(const float* src, const float* weights, std::byte* dst, int64_t n) {
  for_blocks<QBlockQ6_K>(src, weights, dst, n, [](const Block<kSuper>& block, QBlockQ6_K& out) {
    const Scales scales = ScaleFitter(block).best();
    out.d = scales.d;
    for (int s = 0; s < kScales; ++s) {
      out.scales[s] = static_cast<int8_t>(scales.scale[s]);
      const float scale = scales.of(s);
      const fit::Lanes by = fit::all(scale != 0 ? 1 / scale : 0);
      for (int i = 0; i < kScale; i += 4) {
        const int v = s * kScale + i;
        const fit::Lanes nearest = fit::nearest(
            fit::load(block.x.data() + v) * by, fit::all(kRange6.low), fit::all(kRange6.high));
        for (int lane = 0; lane < 4; ++lane) {
          const int q = static_cast<int>(nearest[lane]) + 32, at = v + lane;
          out.ql[at / 128 * 64 + at % 64] |= static_cast<uint8_t>((q & 15) << (at / 64 % 2 * 4));
          out.qh[at / 128 * 32 + at % 32] |= static_cast<uint8_t>(q >> 4 << (at / 32 % 4 * 2));
        }
      }
    }
  });
}

}  // namespace farthing
