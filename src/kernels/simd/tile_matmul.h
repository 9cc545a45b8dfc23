// The matmul of all integer formats: a tile of V::kLanes rows against up to V::kMaxTokens tokens.
//
// The arithmetic, the same for every Isa and number of tokens, so that results are equal to the
// last bit:
//   per group of 32 values (or half of one where scales are per 16), in the order of k:
//     i   = sum of integer products, exact in int32
//     acc = fma(float(i), weight scale * activation scale, acc)
//     acc = fma(minimum, activation sum, acc)                     if the format has minimums
#pragma once

#include "kernels/act.h"
#include "kernels/kernel_table.h"

namespace farthing {
namespace {

template <class V, class Tile>
struct TileMatmul {
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int64_t kBlockBytes = sizeof(typename Tile::QBlock);
  static constexpr int kLoads = Tile::kGroups / Tile::kGroupsPerLoad;
  static constexpr int kScales = Tile::kGroups * (Tile::kHalves ? 2 : 1);
  // Signed bytes are made unsigned by adding 128 where VPDPBUSD wants that.
  static constexpr int kShift = Tile::kSigned ? (V::kVnni ? 7 : -1) : Tile::kOffsetShift;

  struct Scales {
    F scale[kScales];
    F min[kScales];
  };

  FARTHING_SIMD I start(const int32_t& neg_sum) {
    if constexpr (kShift < 0) {
      return V::zero();
    } else {
      return V::template shl<kShift>(V::broadcast(&neg_sum));
    }
  }
  FARTHING_SIMD I dot(I acc, I w, const int8_t* a) {
    if constexpr (Tile::kSigned) {
      return V::dot_signed(acc, w, a);
    } else {
      return V::dot_unsigned(acc, w, a);
    }
  }

  // One group of one token.
  FARTHING_SIMD F add_group(const ActGroup& a, const I* w, const F* scale, const F* min, F acc) {
    const F act_scale = V::set1_f(a.scale);
    if constexpr (Tile::kHalves) {
      I low = start(a.neg_sum_low), high = start(a.neg_sum_high);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        low = dot(low, w[j], a.q + 4 * j);
        high = dot(high, w[4 + j], a.q + 16 + 4 * j);
      }
      acc = V::fma(V::to_float(low), V::mul(scale[0], act_scale), acc);
      acc = V::fma(V::to_float(high), V::mul(scale[1], act_scale), acc);
      if constexpr (Tile::kMin) {
        acc = V::fma(min[0], V::set1_f(a.sum_low), acc);
        acc = V::fma(min[1], V::set1_f(a.sum_high), acc);
      }
    } else {
      I sum = start(a.neg_sum);
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) sum = dot(sum, w[j], a.q + 4 * j);
      acc = V::fma(V::to_float(sum), V::mul(scale[0], act_scale), acc);
      if constexpr (Tile::kMin) acc = V::fma(min[0], V::set1_f(a.sum), acc);
    }
    return acc;
  }

  template <int kTokens, int kGroup = 0>
  FARTHING_SIMD void add_groups(const std::byte* act,
                                int64_t act_stride,
                                const I* raw,
                                const F* scale,
                                const F* min,
                                F* acc) {
    constexpr int kPer = Tile::kHalves ? 2 : 1;
    I w[8];
    Tile::template quads<kGroup>(raw, w);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      const ActGroup& a = reinterpret_cast<const ActGroup*>(act + t * act_stride)[kGroup];
      acc[t] = add_group(a, w, scale + kPer * kGroup, min + kPer * kGroup, acc[t]);
    }
    if constexpr (kGroup + 1 < Tile::kGroupsPerLoad) {
      add_groups<kTokens, kGroup + 1>(act, act_stride, raw, scale, min, acc);
    }
  }

  // Rows base, base + stride, ... against kTokens tokens; `next` is memory to be read soon,
  // prefetched alongside.
  template <int kTokens>
  FARTHING_SIMD void tile(const uint8_t* base,
                          int64_t stride,
                          int64_t n_blocks,
                          const std::byte* act,
                          int64_t act_stride,
                          const uint8_t* next,
                          F* acc) {
    constexpr int kPer = Tile::kHalves ? 2 : 1;
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) acc[t] = V::zero_f();
    typename V::Rows rows = V::Rows::at(base, stride);
    for (int64_t b = 0; b < n_blocks; ++b) {
#pragma GCC unroll 1
      for (int64_t line = 0; line < V::kLanes * kBlockBytes; line += 64) {
        _mm_prefetch(next + b * V::kLanes * kBlockBytes + line, _MM_HINT_T0);
      }
      Scales s;
      Tile::header(rows, s.scale, s.min);
#pragma GCC unroll 1
      for (int part = 0; part < kLoads; ++part) {
        I raw[Tile::kRaw];
        Tile::load(rows, part, raw);
        const int first = part * Tile::kGroupsPerLoad;
        add_groups<kTokens>(
            act + (b * Tile::kGroups + first) * static_cast<int64_t>(sizeof(ActGroup)),
            act_stride,
            raw,
            s.scale + kPer * first,
            s.min + kPer * first,
            acc);
      }
      rows.advance(kBlockBytes);
    }
  }

  // A tile's rows, and which of its lanes are wanted.
  struct Lanes {
    int64_t row;     // of lane 0
    int64_t stride;  // bytes; 0: every lane computes the same row
    int64_t first, end;
  };

  template <int kTokens>
  [[gnu::noinline]] static void tokens(const MatmulTask& task, const Lanes& lanes, int32_t token) {
    const uint8_t* base =
        reinterpret_cast<const uint8_t*>(task.weights) + lanes.row * task.row_bytes;
    F acc[kTokens];
    tile<kTokens>(base,
                  lanes.stride,
                  task.row_bytes / kBlockBytes,
                  task.act + token * task.act_stride,
                  task.act_stride,
                  base + V::kLanes * task.row_bytes,
                  acc);
    const auto wanted = V::lanes(lanes.first, lanes.end);
    float* out = task.out + token * task.out_stride + lanes.row;
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) V::store(out + t * task.out_stride, acc[t], wanted);
  }

  // A rest of tokens that doesn't fill a group is computed by a group that reaches back over tokens
  // already done, to the same results: cheaper than several smaller groups, each of which would
  // unpack the weights again.
  static void rows(const MatmulTask& task, const Lanes& lanes) {
    const int32_t n = task.n_tokens;
    int32_t token = 0;
    for (; n - token >= V::kMaxTokens; token += V::kMaxTokens)
      tokens<V::kMaxTokens>(task, lanes, token);
    if (V::kMaxTokens == 16 && n >= 16 && n - token > 8) {
      tokens<V::kMaxTokens>(task, lanes, n - 16);
      return;
    }
    for (; n - token >= 4; token += 4) tokens<4>(task, lanes, token);
    if (n >= 4 && n - token > 1) {
      tokens<4>(task, lanes, n - 4);
      return;
    }
    for (; token < n; ++token) tokens<1>(task, lanes, token);
  }

  static void run(const MatmulTask& task) {
    int64_t row = task.row_begin;
    for (; row + V::kLanes <= task.row_end; row += V::kLanes) {
      rows(task, {row, task.row_bytes, 0, V::kLanes});
    }
    if (row == task.row_end) return;
    if (task.row_end >= V::kLanes) {  // the last tile reaches back over rows that it doesn't store
      const int64_t first = task.row_end - V::kLanes;
      rows(task, {first, task.row_bytes, row - first, V::kLanes});
    } else {
      for (; row < task.row_end; ++row) rows(task, {row, 0, 0, 1});
    }
  }
};

}  // namespace
}  // namespace farthing
