// Scales that lose least: for N values x with weights w, the real numbers that make
// sum w (x - scale * q - offset)^2 small, where each q is the nearest integer of a range. The
// error is a saw-tooth of the scale, so a grid of scales is tried and the best followed down:
// integers from the scale, the scale from the integers by least squares, until nothing changes.
// Sums have a fixed order: results are the same bits on every machine.
// Preconditions: N % 4 == 0, everything finite, w >= 0 and not all zero, |x| <= kLargest.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

#include "base/half.h"

namespace farthing::fit {

// Larger values have no f16 scale in any format; smaller ones than kSmallest are nearer to zero
// than to what the smallest scale can say.
inline constexpr float kLargest = 65504.0f * 128;
inline constexpr float kSmallest = 0x1p-25f;

// Four values side by side, as every x86-64 has them.
using Lanes [[gnu::vector_size(16)]] = float;

inline Lanes load(const float* p) {
  Lanes v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline Lanes all(float x) {
  return Lanes{x, x, x, x};
}
inline float sum(Lanes v) {
  return (v[0] + v[1]) + (v[2] + v[3]);
}
// The nearest integer of [low, high], ties to even; |low|, |high| < 2^22.
inline Lanes nearest(Lanes v, Lanes low, Lanes high) {
  const Lanes magic = all(0x1.8p23f);  // beyond it floats are whole numbers
  v = v < low ? low : v;
  v = v > high ? high : v;
  return (v + magic) - magic;
}

template <int N>
struct Block {
  alignas(16) std::array<float, N> x;
  alignas(16) std::array<float, N> w;

  // `weights` may be nullptr, or all zero: then values count alike. None counts for nothing, so
  // that no part of a block is without weight.
  void fill(const float* values, const float* weights) {
    std::copy_n(values, N, x.begin());
    const float most = weights == nullptr ? 0 : *std::max_element(weights, weights + N);
    for (int i = 0; i < N; ++i) w[i] = most > 0 ? std::max(weights[i], 1e-7f * most) : 1.0f;
  }
};

// ---- x ~ scale * q, q in [low, high] ----

struct Range {
  float low, high;
};

struct ScaleSums {
  float xq = 0, qq = 0;  // of w x q and w q q

  // How much of sum w x x the best scale for these q takes away.
  float gain() const { return qq > 0 ? xq * xq / qq : 0; }
};

template <int N>
ScaleSums scale_sums(const float* x, const float* w, float inverse, Range range) {
  const Lanes by = all(inverse), low = all(range.low), high = all(range.high);
  Lanes xq{}, qq{};
  for (int i = 0; i < N; i += 4) {
    const Lanes v = load(x + i);
    const Lanes q = nearest(v * by, low, high);
    const Lanes wq = load(w + i) * q;
    xq += v * wq;
    qq += q * wq;
  }
  return {sum(xq), sum(qq)};
}

template <int N>
float scale_error(const float* x, const float* w, float scale, Range range) {
  const Lanes by = all(scale != 0 ? 1 / scale : 0), s = all(scale);
  const Lanes low = all(range.low), high = all(range.high);
  Lanes error{};
  for (int i = 0; i < N; i += 4) {
    const Lanes v = load(x + i);
    const Lanes d = v - s * nearest(v * by, low, high);
    error += load(w + i) * d * d;
  }
  return sum(error);
}

// The kStarts of least error among those offered.
inline constexpr int kStarts = 8;
template <class Value>
class Starts {
 public:
  void offer(float error, const Value& value) {
    Start start{error, value};
    for (Start& kept : kept_) {
      if (start.error < kept.error) std::swap(start, kept);
    }
  }
  // Calls fn(error, value) for each.
  template <class Fn>
  void each(Fn fn) const {
    for (const Start& start : kept_) {
      if (std::isfinite(start.error)) fn(start.error, start.value);
    }
  }

 private:
  struct Start {
    float error = std::numeric_limits<float>::infinity();
    Value value{};
  };
  std::array<Start, kStarts> kept_;
};
inline constexpr int kSteps = 8;  // down from a start, at most

// The scale; of either sign, as ranges reach further down than up. 0 if all values are below
// kSmallest.
template <int N>
float best_scale(const float* x, const float* w, Range range) {
  float widest = 0;
  for (int i = 0; i < N; ++i) {
    if (std::fabs(x[i]) > std::fabs(widest)) widest = x[i];
  }
  if (std::fabs(widest) <= kSmallest) return 0;
  // The grid: the integer that the widest value would have if the range went on. Before the range's
  // end some of it is left over, beyond it the value is cut: dear unless its weight is small.
  // Finer where there are more integers: with them grow the saw-tooth's teeth.
  Starts<ScaleSums> starts;
  for (const float end : {range.low, range.high}) {
    if (end > 0 && end == -range.low) continue;  // the same grid read from its other end
    const float reach = std::fabs(end);
    const auto offer = [&](float t) {
      const ScaleSums sums = scale_sums<N>(x, w, (end < 0 ? -t : t) / widest, range);
      starts.offer(-sums.gain(), sums);
    };
    const float from = reach * 7 / 8 - 1, to = reach + 2;
    constexpr float kStep = 0.075f;
    for (int i = 0; from + kStep * static_cast<float>(i) < to; ++i)
      offer(from + kStep * static_cast<float>(i));
    constexpr int kFar = 12;
    for (int i = 0; i < kFar; ++i) offer(to + 0.6f * reach * static_cast<float>(i) / kFar);
  }
  ScaleSums best;
  starts.each([&](float, ScaleSums sums) {
    for (int i = 0; i < kSteps && sums.qq > 0; ++i) {
      const ScaleSums next = scale_sums<N>(x, w, sums.qq / sums.xq, range);
      if (!(next.gain() > sums.gain())) break;
      sums = next;
    }
    if (sums.gain() > best.gain()) best = sums;
  });
  return best.qq > 0 ? best.xq / best.qq : 0;
}

// The f16 near `scale` with the least error.
template <class Error>
uint16_t best_half(float scale, Error&& error) {
  uint16_t best = f32_to_f16(scale);
  float least = error(f16_to_f32(best));
  const uint16_t middle = best;
  for (const int step : {-1, 1}) {
    const auto bits = static_cast<uint16_t>(middle + step);
    if ((middle & 0x7fff) == 0 && step < 0) continue;
    const float value = f16_to_f32(bits);
    if (!std::isfinite(value)) continue;
    const float e = error(value);
    if (e < least) {
      least = e;
      best = bits;
    }
  }
  return best;
}

// ---- x ~ scale * q + offset, q in [0, high] ----

struct Line {
  float scale = 0, offset = 0;
};

struct LineSums {
  float w = 0, x = 0;           // of w, w x
  float q = 0, qq = 0, xq = 0;  // of w q, w q q, w x q
};

template <int N>
LineSums line_sums(const float* x, const float* w, Line line, float top) {
  const Lanes by = all(line.scale > 0 ? 1 / line.scale : 0), offset = all(line.offset);
  const Lanes low{}, high = all(top);
  Lanes sw{}, sx{}, sq{}, sqq{}, sxq{};
  for (int i = 0; i < N; i += 4) {
    const Lanes v = load(x + i), wi = load(w + i);
    const Lanes q = nearest((v - offset) * by, low, high);
    const Lanes wq = wi * q;
    sw += wi;
    sx += wi * v;
    sq += wq;
    sqq += wq * q;
    sxq += wq * v;
  }
  return {sum(sw), sum(sx), sum(sq), sum(sqq), sum(sxq)};
}

template <int N>
float line_error(const float* x, const float* w, Line line, float top) {
  const Lanes by = all(line.scale > 0 ? 1 / line.scale : 0);
  const Lanes scale = all(line.scale), offset = all(line.offset), low{}, high = all(top);
  Lanes error{};
  for (int i = 0; i < N; i += 4) {
    const Lanes v = load(x + i) - offset;
    const Lanes d = v - scale * nearest(v * by, low, high);
    error += load(w + i) * d * d;
  }
  return sum(error);
}

// The line through the points (q, x).
inline Line least_squares(const LineSums& s) {
  const float det = s.w * s.qq - s.q * s.q;
  if (!(det > 0)) return {0, s.x / s.w};
  return {(s.w * s.xq - s.x * s.q) / det, (s.qq * s.x - s.q * s.xq) / det};
}

// `offset_below`: the largest offset allowed (0, or infinity).
template <int N>
Line best_line(const float* x, const float* w, float top, float offset_below) {
  const auto [least, most] = std::minmax_element(x, x + N);
  const float base = std::min(*least, offset_below);
  const float range = *most - base;
  if (!(range > 0)) return {0, base};
  // Seen from `base`, so that a large offset costs no digits.
  std::array<float, N> y;
  for (int i = 0; i < N; ++i) y[i] = x[i] - base;
  const float most_offset = offset_below - base;
  const auto improved = [&](const LineSums& s) {
    Line line = least_squares(s);
    if (line.offset > most_offset)
      line = {s.qq > 0 ? (s.xq - most_offset * s.q) / s.qq : 0, most_offset};
    if (!(line.scale > 0)) line = {0, std::min(s.x / s.w, most_offset)};
    return line;
  };
  // Error less sum w y y, which is the same for all.
  const auto error_of = [](const LineSums& s, Line line) {
    return line.scale * (line.scale * s.qq + 2 * line.offset * s.q - 2 * s.xq) +
           line.offset * (line.offset * s.w - 2 * s.x);
  };
  // The grid: how many steps of the scale are cut off, or left over, at either end.
  constexpr std::array<float, 8> kCuts = {-0.5f, 0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 2.75f, 3.75f};
  Starts<Line> starts;
  for (const float low : kCuts) {
    for (const float high : kCuts) {
      const float step = range / top;
      const LineSums s =
          line_sums<N>(y.data(), w, {step * (1 - (low + high) / top), step * low}, top);
      const Line line = improved(s);
      starts.offer(error_of(s, line), line);
    }
  }
  Line best;
  float least_error = std::numeric_limits<float>::infinity();
  starts.each([&](float error, Line line) {
    for (int i = 0; i < kSteps; ++i) {
      const LineSums s = line_sums<N>(y.data(), w, line, top);
      const Line next = improved(s);
      const float e = error_of(s, next);
      if (!(e < error)) break;
      error = e;
      line = next;
    }
    if (error < least_error) {
      least_error = error;
      best = line;
    }
  });
  return {best.scale, best.offset + base};
}

}  // namespace farthing::fit
