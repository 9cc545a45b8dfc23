// Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 with the scales that lose least (quant/fit.h).
#include <array>
#include <cmath>
#include <limits>

#include "base/half.h"
#include "quant/fit.h"
#include "quant/layout.h"
#include "quant/quantize.h"

namespace farthing {
namespace {

constexpr int kGroup = 32;
using fit::Block;
using fit::Line;
using fit::Range;

// Where a value would have no f16 scale: the block decodes to no number, which the caller reports.
constexpr uint16_t kNoScale = 0x7c00;

bool too_large(const Block<kGroup>& block) {
  return std::any_of(
      block.x.begin(), block.x.end(), [](float v) { return !(std::fabs(v) <= fit::kLargest); });
}

// Calls fn(block of values and weights, block of the format) for each block of n values.
template <class QBlock, class Fn>
void for_blocks(const float* src, const float* weights, std::byte* dst, int64_t n, Fn fn) {
  QBlock* out = reinterpret_cast<QBlock*>(dst);
  Block<kGroup> block;
  for (int64_t i = 0; i < n; i += kGroup, ++out) {
    block.fill(src + i, weights == nullptr ? nullptr : weights + i);
    *out = {};
    fn(block, *out);
  }
}

void put_nibble(uint8_t (&qs)[16], int i, int q) {
  qs[i % 16] |= static_cast<uint8_t>((q & 15) << (i / 16 * 4));
}

uint16_t half_scale(const Block<kGroup>& block, Range range) {
  const float scale = fit::best_scale<kGroup>(block.x.data(), block.w.data(), range);
  return fit::best_half(scale, [&](float s) {
    return fit::scale_error<kGroup>(block.x.data(), block.w.data(), s, range);
  });
}

// Integers of values at `scale`, as scale_error() takes them.
std::array<int, kGroup> integers(const Block<kGroup>& block, float scale, float offset, Range r) {
  const fit::Lanes by = fit::all(scale != 0 ? 1 / scale : 0), from = fit::all(offset);
  std::array<int, kGroup> out;
  for (int i = 0; i < kGroup; i += 4) {
    const fit::Lanes q = fit::nearest(
        (fit::load(block.x.data() + i) - from) * by, fit::all(r.low), fit::all(r.high));
    for (int lane = 0; lane < 4; ++lane) out[i + lane] = static_cast<int>(q[lane]);
  }
  return out;
}

template <class QBlock, class Put>
void quantize_scaled(
    const float* src, const float* weights, std::byte* dst, int64_t n, Range range, Put put) {
  for_blocks<QBlock>(src, weights, dst, n, [&](const Block<kGroup>& block, QBlock& out) {
    if (too_large(block)) {
      out.d = kNoScale;
      return;
    }
    out.d = half_scale(block, range);
    const auto q = integers(block, f16_to_f32(out.d), 0, range);
    for (int i = 0; i < kGroup; ++i) put(out, i, q[i]);
  });
}

// The pair of f16 near the best line: first the scale, then the offset at that scale.
template <class QBlock, class Put>
void quantize_line(
    const float* src, const float* weights, std::byte* dst, int64_t n, float top, Put put) {
  for_blocks<QBlock>(src, weights, dst, n, [&](const Block<kGroup>& block, QBlock& out) {
    if (too_large(block)) {
      out.d = out.m = kNoScale;
      return;
    }
    const float* x = block.x.data();
    const float* w = block.w.data();
    const Line line = fit::best_line<kGroup>(x, w, top, std::numeric_limits<float>::infinity());
    const auto error = [&](float scale, float offset) {
      return fit::line_error<kGroup>(x, w, {scale, offset}, top);
    };
    out.d = fit::best_half(line.scale, [&](float s) { return error(s, line.offset); });
    const float scale = f16_to_f32(out.d);
    const Line again = fit::least_squares(fit::line_sums<kGroup>(x, w, {scale, line.offset}, top));
    const float offset = std::fabs(again.offset) <= 65504 ? again.offset : line.offset;
    out.m = fit::best_half(line.offset, [&](float o) { return error(scale, o); });
    const uint16_t other = fit::best_half(offset, [&](float o) { return error(scale, o); });
    if (error(scale, f16_to_f32(other)) < error(scale, f16_to_f32(out.m))) out.m = other;
    const auto q = integers(block, scale, f16_to_f32(out.m), {0, top});
    for (int i = 0; i < kGroup; ++i) put(out, i, q[i]);
  });
}

}  // namespace

void quantize_q8_0(const float* src, const float* weights, std::byte* dst, int64_t n) {
  quantize_scaled<QBlockQ8_0>(src, weights, dst, n, {-127, 127}, [](QBlockQ8_0& out, int i, int q) {
    out.qs[i] = static_cast<int8_t>(q);
  });
}

void quantize_q4_0(const float* src, const float* weights, std::byte* dst, int64_t n) {
  quantize_scaled<QBlockQ4_0>(src, weights, dst, n, {-8, 7}, [](QBlockQ4_0& out, int i, int q) {
    put_nibble(out.qs, i, q + 8);
  });
}

void quantize_q5_0(const float* src, const float* weights, std::byte* dst, int64_t n) {
  quantize_scaled<QBlockQ5_0>(src, weights, dst, n, {-16, 15}, [](QBlockQ5_0& out, int i, int q) {
    put_nibble(out.qs, i, q + 16);
    out.qh |= static_cast<uint32_t>((q + 16) >> 4) << i;
  });
}

void quantize_q4_1(const float* src, const float* weights, std::byte* dst, int64_t n) {
  quantize_line<QBlockQ4_1>(
      src, weights, dst, n, 15, [](QBlockQ4_1& out, int i, int q) { put_nibble(out.qs, i, q); });
}

void quantize_q5_1(const float* src, const float* weights, std::byte* dst, int64_t n) {
  quantize_line<QBlockQ5_1>(src, weights, dst, n, 31, [](QBlockQ5_1& out, int i, int q) {
    put_nibble(out.qs, i, q);
    out.qh |= static_cast<uint32_t>(q >> 4) << i;
  });
}

}  // namespace farthing
