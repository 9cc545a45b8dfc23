// The matmul of all integer formats: a tile of weights against up to V::kMaxTokens tokens.
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
#include "quant/tile.h"

namespace farthing {
namespace {

template <class V, class Tile>
struct TileMatmul {
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int64_t kUnitBytes = kTileRows * sizeof(typename Tile::Unit);
  static constexpr int kScales = Tile::kGroups * (Tile::kHalves ? 2 : 1);
  static constexpr int kShift = Tile::kSigned ? (V::kVnni ? 7 : -1) : Tile::kOffsetShift;
  // Bytes ahead that are asked for: into L2 early, since L1 has room for few requests, and into L1
  // when they are near. Measured against a plain read: 0.94 of it, where L1 alone reached 0.84.
  static constexpr int64_t kAhead = 16384, kNear = 1024;

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
  // acc + the products of kQuads quads with the activations.
  template <int kQuads>
  FARTHING_SIMD I dot(I acc, const I* w, const int8_t* a) {
    if constexpr (Tile::kSigned) {
#pragma GCC unroll 8
      for (int j = 0; j < kQuads; ++j) acc = V::dot_biased(acc, w[j], a + 4 * j);
    } else if constexpr (V::kVnni) {
#pragma GCC unroll 8
      for (int j = 0; j < kQuads; ++j) acc = V::dot_unsigned(acc, w[j], a + 4 * j);
    } else {
      // Pairs of products are at most 2 * 127 * largest weight: so many fit an int16 together.
      constexpr int kFit = Tile::kBits <= 4 ? 8 : Tile::kBits == 5 ? 4 : 2;
      constexpr int kSteps = kFit < kQuads ? kFit : kQuads;
#pragma GCC unroll 8
      for (int j = 0; j < kQuads; j += kSteps) {
        I pairs = V::pair_products(w[j], a + 4 * j);
#pragma GCC unroll 8
        for (int i = j + 1; i < j + kSteps; ++i)
          pairs = V::add_pairs(pairs, V::pair_products(w[i], a + 4 * i));
        acc = V::widen_pairs(acc, pairs);
      }
    }
    return acc;
  }

  // One group of one token.
  FARTHING_SIMD F add_group(const ActGroup& a, const I* w, const F* scale, const F* min, F acc) {
    const F act_scale = V::set1_f(a.scale);
    if constexpr (Tile::kHalves) {
      const I low = dot<4>(start(a.neg_sum_low), w, a.q);
      const I high = dot<4>(start(a.neg_sum_high), w + 4, a.q + 16);
      acc = V::fma(V::to_float(low), V::mul(scale[0], act_scale), acc);
      acc = V::fma(V::to_float(high), V::mul(scale[1], act_scale), acc);
      if constexpr (Tile::kMin) {
        acc = V::fma(min[0], V::set1_f(a.sum_low), acc);
        acc = V::fma(min[1], V::set1_f(a.sum_high), acc);
      }
    } else {
      const I sum = dot<8>(start(a.neg_sum), w, a.q);
      acc = V::fma(V::to_float(sum), V::mul(scale[0], act_scale), acc);
      if constexpr (Tile::kMin) acc = V::fma(min[0], V::set1_f(a.sum), acc);
    }
    return acc;
  }

  // The groups of one part; `act` is the part's first group of the first token.
  template <int kTokens, int kGroup = 0>
  FARTHING_SIMD void add_groups(const std::byte* unit,
                                int part,
                                const std::byte* act,
                                int64_t group_stride,
                                const F* scale,
                                const F* min,
                                F* acc) {
    constexpr int kPer = Tile::kHalves ? 2 : 1;
    I w[8];
    Tile::template quads<kGroup>(unit, part, w);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      const ActGroup& a = reinterpret_cast<const ActGroup*>(act)[t];
      acc[t] = add_group(a, w, scale + kPer * kGroup, min + kPer * kGroup, acc[t]);
    }
    if constexpr (kGroup + 1 < Tile::kPart) {
      add_groups<kTokens, kGroup + 1>(
          unit, part, act + group_stride, group_stride, scale, min, acc);
    }
  }

  // This V's rows of a tile against kTokens tokens.
  template <int kTokens>
  FARTHING_SIMD void tile(
      const std::byte* unit, int64_t n_units, const std::byte* act, int64_t group_stride, F* acc) {
    constexpr int kPer = Tile::kHalves ? 2 : 1;
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) acc[t] = V::zero_f();
    for (int64_t u = 0; u < n_units; ++u) {
#pragma GCC unroll 1
      for (int64_t line = 0; line < kUnitBytes; line += 64) {
        _mm_prefetch(unit + line + kAhead, _MM_HINT_T1);
        _mm_prefetch(unit + line + kNear, _MM_HINT_T0);
      }
      Scales s;
      Tile::header(unit, s.scale, s.min);
#pragma GCC unroll 1
      for (int part = 0; part < Tile::kGroups / Tile::kPart; ++part) {
        const int first = part * Tile::kPart;
        add_groups<kTokens>(
            unit, part, act, group_stride, s.scale + kPer * first, s.min + kPer * first, acc);
        act += Tile::kPart * group_stride;
      }
      unit += kUnitBytes;
    }
  }

  // kTokens tokens from `token` on, which lie in `block`.
  template <int kTokens>
  [[gnu::noinline]] static void tokens(const MatmulTask& task,
                                       int64_t tile_index,
                                       int32_t token,
                                       const ActBlock& block) {
    const int64_t n_units = ceil_div(task.cols, kUnitValues);
    const std::byte* first = task.tiles + tile_index * n_units * kUnitBytes;
    const std::byte* act =
        task.act + block.offset + token % kActBlockTokens * static_cast<int64_t>(sizeof(ActGroup));
#pragma GCC unroll 1
    for (int64_t lane = 0; lane < kTileRows; lane += V::kLanes) {
      F acc[kTokens];
      tile<kTokens>(first + lane * 4, n_units, act, block.group_stride, acc);
      const int64_t row = tile_index * kTileRows + lane;
      const auto wanted = V::first_lanes(task.rows - row);
      float* out = task.out + token * task.out_stride + row;
      const int32_t n = task.n_tokens - token;
#pragma GCC unroll 16
      for (int t = 0; t < kTokens; ++t) {
        if (t < n) put(task, out + t * task.out_stride, acc[t], wanted);
      }
    }
  }
  FARTHING_SIMD void put(const MatmulTask& task, float* out, F value, typename V::Mask wanted) {
    if (task.accumulate) value = V::add(V::load(out, wanted), value);
    V::store(out, value, wanted);
  }
  static constexpr int64_t kUnitValues = 32 * Tile::kGroups;

  // Tiles [begin, end) for the tokens from `first` (a block's first) on.
  static void tiles(const MatmulTask& task, int64_t begin, int64_t end, int32_t first) {
    for (int64_t tile = begin; tile < end; ++tile) {
      for (int32_t token = first; token < task.n_tokens; token += kActBlockTokens) {
        const ActBlock block = act_block(task.cols, task.n_tokens, token);
        const int32_t last =
            token + block.width < task.n_tokens ? token + block.width : task.n_tokens;
        if (V::kMaxTokens >= 16 && block.width == 16) {
          tokens<V::kMaxTokens>(task, tile, token, block);
        } else if (V::kMaxTokens >= 8 && block.width == 8) {
          tokens < V::kMaxTokens<8 ? V::kMaxTokens : 8>(task, tile, token, block);
        } else if (block.width >= 4) {
          for (int32_t t = token; t < last; t += 4) tokens<4>(task, tile, t, block);
        } else if (block.width == 2) {
          tokens<2>(task, tile, token, block);
        } else {
          tokens<1>(task, tile, token, block);
        }
      }
    }
  }
  static void run(const MatmulTask& task) { tiles(task, task.tile_begin, task.tile_end, 0); }
};

}  // namespace
}  // namespace farthing
