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
  static constexpr int kOffset = Tile::kSigned ? (V::kVnni ? 128 : 0) : Tile::kOffset;
  // Bytes ahead that are asked for into L1; MatmulTask::far further ones into L2, where that pays.
  static constexpr int64_t kNear = 4096;
  // Pairs of products are at most 2 * 127 * largest weight: so many fit an int16 together.
  static constexpr int kFit = Tile::kBits <= 4   ? 8
                              : Tile::kBits == 5 ? 4
                              : Tile::kBits == 6 ? 2
                                                 : 1;

  struct Scales {
    F scale[kScales];
    F min[kScales];
  };

  // What the integer sum of a group starts at, and of its halves.
  FARTHING_SIMD I start(const ActGroup& a) {
    if constexpr (kOffset == 128) return V::broadcast(&a.start_128);
    if constexpr (kOffset == 16) return V::template shl<1>(V::broadcast(&a.start_8));
    if constexpr (kOffset == 8) return V::broadcast(&a.start_8);
    if constexpr (kOffset == 0) return V::zero();
  }
  template <int kHalf>
  FARTHING_SIMD I start_half(const ActGroup& a) {
    const I start = V::broadcast(kHalf == 0 ? &a.start_32_low : &a.start_32_high);
    if constexpr (kOffset == 32) return start;
    if constexpr (kOffset == 4) return V::template sra<3>(start);
    if constexpr (kOffset == 0) return V::zero();
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
      const I low = dot<4>(start_half<0>(a), w, a.q);
      const I high = dot<4>(start_half<1>(a), w + 4, a.q + 16);
      acc = V::fma(V::to_float(low), V::mul(scale[0], act_scale), acc);
      acc = V::fma(V::to_float(high), V::mul(scale[1], act_scale), acc);
      if constexpr (Tile::kMin) {
        acc = V::fma(min[0], V::set1_f(a.sum_low), acc);
        acc = V::fma(min[1], V::set1_f(a.sum_high), acc);
      }
    } else {
      const I sum = dot<8>(start(a), w, a.q);
      acc = V::fma(V::to_float(sum), V::mul(scale[0], act_scale), acc);
      if constexpr (Tile::kMin) acc = V::fma(min[0], V::set1_f(a.sum), acc);
    }
    return acc;
  }

  // One group of kTokens tokens, their sums side by side: one after the other, the chains of
  // dependent products would fill the scheduler.
  template <int kTokens>
  FARTHING_SIMD void add_together(
      const ActGroup* a, const I* w, const F* scale, const F* min, F* acc) {
    constexpr int kPer = Tile::kHalves ? 2 : 1;
#pragma GCC unroll 2
    for (int half = 0; half < kPer; ++half) {
      I sum[kTokens];
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        if constexpr (kPer == 1)
          sum[t] = start(a[t]);
        else
          sum[t] = half == 0 ? start_half<0>(a[t]) : start_half<1>(a[t]);
      }
#pragma GCC unroll 8
      for (int j = 8 / kPer * half; j < 8 / kPer * (half + 1); ++j) {
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) sum[t] = V::dot_unsigned(sum[t], w[j], a[t].q + 4 * j);
      }
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        acc[t] = V::fma(V::to_float(sum[t]), V::mul(scale[half], V::set1_f(a[t].scale)), acc[t]);
      }
    }
    if constexpr (Tile::kMin) {
#pragma GCC unroll 2
      for (int half = 0; half < kPer; ++half) {
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          const float& sum = kPer == 1 ? a[t].sum : half == 0 ? a[t].sum_low : a[t].sum_high;
          acc[t] = V::fma(min[half], V::set1_f(sum), acc[t]);
        }
      }
    }
  }

  // Asks for a group's share of a unit's lines: all of a unit's at once would fill the queues that
  // the loads need (0.83 of a plain read instead of 0.96 for Q4_K, whose unit has 36).
  FARTHING_SIMD void prefetch(const std::byte* unit, int group, int64_t far) {
    constexpr int64_t kShare = ceil_div(ceil_div(kUnitBytes, 64), Tile::kGroups) * 64;
    const std::byte* first = unit + group * kShare;
#pragma GCC unroll 16
    for (int64_t i = 0; i < kShare; i += 64) _mm_prefetch(first + i + kNear, _MM_HINT_T0);
    if (far == 0) return;
#pragma GCC unroll 16
    for (int64_t i = 0; i < kShare; i += 64) _mm_prefetch(first + i + far, _MM_HINT_T1);
  }

  // The groups of one part; `act` is the part's first group of the first token. With far < 0 it
  // asks for nothing: another vector of the same lines has.
  template <int kTokens, int kGroup = 0>
  FARTHING_SIMD void add_groups(const std::byte* unit,
                                int part,
                                const std::byte* act,
                                int64_t group_stride,
                                const F* scale,
                                const F* min,
                                int64_t far,
                                F* acc) {
    constexpr int kPer = Tile::kHalves ? 2 : 1;
    if (V::kLanes == kTileRows || far >= 0) prefetch(unit, part * Tile::kPart + kGroup, far);
    I w[8];
    Tile::template quads<kGroup>(unit, part, w);
    const F* s = scale + kPer * kGroup;
    const F* m = min + kPer * kGroup;
    const ActGroup* a = reinterpret_cast<const ActGroup*>(act);
    if constexpr (V::kVnni) {
      constexpr int kChains = kTokens < 8 ? kTokens : 8;
#pragma GCC unroll 16
      for (int t = 0; t < kTokens; t += kChains) add_together<kChains>(a + t, w, s, m, acc + t);
    } else {
#pragma GCC unroll 16
      for (int t = 0; t < kTokens; ++t) acc[t] = add_group(a[t], w, s, m, acc[t]);
    }
    if constexpr (kGroup + 1 < Tile::kPart) {
      add_groups<kTokens, kGroup + 1>(
          unit, part, act + group_stride, group_stride, scale, min, far, acc);
    }
  }

  // kTokens tokens from `token` on, which lie in `block`.
  template <int kTokens>
  [[gnu::noinline]] static void tokens(const MatmulTask& task,
                                       int64_t tile_index,
                                       int32_t token,
                                       const ActBlock& block) {
    constexpr int kPer = Tile::kHalves ? 2 : 1;
    // All vectors of a tile's rows in one pass, so that its lines come from memory in order and at
    // one pace; with more tokens the pace doesn't matter, and registers do.
    constexpr int kVectors = kTokens <= 2 ? kTileRows / V::kLanes : 1;
    const int64_t n_units = ceil_div(task.cols, kUnitValues);
    const std::byte* first = task.tiles + tile_index * n_units * kUnitBytes;
    const std::byte* first_act =
        task.act + block.offset + token % kActBlockTokens * static_cast<int64_t>(sizeof(ActGroup));
#pragma GCC unroll 1
    for (int64_t lane = 0; lane < kTileRows; lane += kVectors * V::kLanes) {
      F acc[kVectors][kTokens];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
#pragma GCC unroll 16
        for (int t = 0; t < kTokens; ++t) acc[v][t] = V::zero_f();
      }
      const std::byte* unit = first + 4 * lane;
      const std::byte* act = first_act;
      for (int64_t u = 0; u < n_units; ++u, unit += kUnitBytes) {
        Scales s[kVectors];
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v)
          Tile::header(unit + 4 * V::kLanes * v, s[v].scale, s[v].min);
#pragma GCC unroll 1
        for (int part = 0; part < Tile::kGroups / Tile::kPart; ++part) {
          const int scale = kPer * part * Tile::kPart;
#pragma GCC unroll 1
          for (int v = 0; v < kVectors; ++v) {
            add_groups<kTokens>(unit + 4 * V::kLanes * v,
                                part,
                                act,
                                block.group_stride,
                                s[v].scale + scale,
                                s[v].min + scale,
                                v == 0 ? task.far : -1,
                                acc[v]);
          }
          act += Tile::kPart * block.group_stride;
        }
      }
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        const int64_t row = tile_index * kTileRows + lane + v * V::kLanes;
        const auto wanted = V::first_lanes(task.rows - row);
        float* out = task.out + token * task.out_stride + row;
        const int32_t n = task.n_tokens - token;
#pragma GCC unroll 16
        for (int t = 0; t < kTokens; ++t) {
          if (t < n) put(task, out + t * task.out_stride, acc[v][t], wanted);
        }
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
