// The matmul of integer formats for many tokens: two tiles at a time are unpacked to a panel of
// bytes and f32 scales that stays in L1, and all tokens go over it. The arithmetic is
// TileMatmul's, to the last bit: sums that a panel's end cuts wait beside it.
#pragma once

#include "kernels/simd/tile_matmul.h"

namespace farthing {
namespace {

template <class V, class Tile>
struct PanelMatmul {
  using I = typename V::I;
  using F = typename V::F;
  using Small = TileMatmul<V, Tile>;
  static constexpr int kTiles = 2;
  static constexpr int kGroups = 8;  // of 32 values: a whole number of units of every format
  static constexpr int kPer = Tile::kHalves ? 2 : 1;
  static_assert(kGroups % Tile::kGroups == 0);

  struct Panel {
    alignas(64) uint8_t w[kGroups][8][kTiles][64];
    alignas(64) float scale[kGroups][kPer][kTiles][V::kLanes];
    alignas(64) float min[Tile::kMin ? kGroups : 1][kPer][kTiles][V::kLanes];
  };

  struct alignas(64) Sums {  // of one token
    float lane[kTiles][V::kLanes];
  };
  // Tokens, and values of k, whose activations stay in L2 while all tiles go over them: the sums
  // of a span's tokens go through the output rows from chunk to chunk.
  static constexpr int32_t kSpan = 128;
  static constexpr int64_t kUnits = kGroups / Tile::kGroups;  // of a panel
  static constexpr int64_t kChunk = 64 / kGroups * kUnits;

  template <int kGroup = 0>
  FARTHING_SIMD void unpack_part(const std::byte* unit, int part, int first, int tile, Panel& p) {
    I w[8];
    Tile::template quads<kGroup>(unit, part, w);
    const int group = first + part * Tile::kPart + kGroup;
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) V::store_line(p.w[group][j][tile], w[j]);
    if constexpr (kGroup + 1 < Tile::kPart) unpack_part<kGroup + 1>(unit, part, first, tile, p);
  }

  // n_groups groups of one tile.
  [[gnu::noinline]] static void unpack(const std::byte* unit, int n_groups, int tile, Panel& p) {
    for (int first = 0; first < n_groups; first += Tile::kGroups, unit += Small::kUnitBytes) {
      typename Small::Scales s;
      Tile::header(unit, s.scale, s.min);
#pragma GCC unroll 16
      for (int i = 0; i < Small::kScales; ++i) {
        V::store(p.scale[first + i / kPer][i % kPer][tile], s.scale[i]);
        if constexpr (Tile::kMin) V::store(p.min[first + i / kPer][i % kPer][tile], s.min[i]);
      }
#pragma GCC unroll 1
      for (int part = 0; part < Tile::kGroups / Tile::kPart; ++part)
        unpack_part(unit, part, first, tile, p);
    }
  }

  // Quads [8 / kPer * half, ...) of kTokens tokens against both tiles, scaled onto acc.
  template <int kTokens, int kHalf>
  FARTHING_SIMD void add_half(const Panel& p, int g, const ActGroup* a, F (&acc)[kTokens][kTiles]) {
    I sum[kTokens][kTiles];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      if constexpr (kPer == 1) sum[t][0] = sum[t][1] = Small::start(a[t]);
      if constexpr (kPer == 2) sum[t][0] = sum[t][1] = Small::template start_half<kHalf>(a[t]);
    }
#pragma GCC unroll 8
    for (int j = 8 / kPer * kHalf; j < 8 / kPer * (kHalf + 1); ++j) {
      const I w0 = V::load_line(p.w[g][j][0]), w1 = V::load_line(p.w[g][j][1]);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const I x = V::broadcast(a[t].q + 4 * j);
        sum[t][0] = V::dot_unsigned(sum[t][0], w0, x);
        sum[t][1] = V::dot_unsigned(sum[t][1], w1, x);
      }
    }
    const F s0 = V::load(p.scale[g][kHalf][0]), s1 = V::load(p.scale[g][kHalf][1]);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const F d = V::set1_f(a[t].scale);
      acc[t][0] = V::fma(V::to_float(sum[t][0]), V::mul(s0, d), acc[t][0]);
      acc[t][1] = V::fma(V::to_float(sum[t][1]), V::mul(s1, d), acc[t][1]);
    }
  }
  template <int kTokens>
  FARTHING_SIMD void add_minimums(const Panel& p,
                                  int g,
                                  const ActGroup* a,
                                  F (&acc)[kTokens][kTiles]) {
#pragma GCC unroll 2
    for (int half = 0; half < kPer; ++half) {
      const F m0 = V::load(p.min[g][half][0]), m1 = V::load(p.min[g][half][1]);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const F sum = V::set1_f(kPer == 1 ? a[t].sum : half == 0 ? a[t].sum_low : a[t].sum_high);
        acc[t][0] = V::fma(m0, sum, acc[t][0]);
        acc[t][1] = V::fma(m1, sum, acc[t][1]);
      }
    }
  }

  // kTokens tokens against the panel. `first`: the sums start here. `next`: the activations that
  // will be asked for after these.
  template <int kTokens>
  [[gnu::noinline]] static void tokens(const Panel& p,
                                       int n_groups,
                                       const std::byte* act,
                                       const std::byte* next,
                                       int64_t group_stride,
                                       bool first,
                                       Sums* sums) {
    F acc[kTokens][kTiles];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int i = 0; i < kTiles; ++i) acc[t][i] = first ? V::zero_f() : V::load(sums[t].lane[i]);
    }
#pragma GCC unroll 1
    for (int g = 0; g < n_groups; ++g, act += group_stride, next += group_stride) {
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) _mm_prefetch(next + t * 64, _MM_HINT_T0);
      const ActGroup* a = reinterpret_cast<const ActGroup*>(act);
      add_half<kTokens, 0>(p, g, a, acc);
      if constexpr (kPer == 2) add_half<kTokens, 1>(p, g, a, acc);
      if constexpr (Tile::kMin) add_minimums(p, g, a, acc);
    }
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int i = 0; i < kTiles; ++i) V::store(sums[t].lane[i], acc[t][i]);
    }
  }

  // Whole blocks of tokens [begin, end) against units [first, last) of k. Sums of the units before
  // are in task.out, where sums go.
  struct Chunk {
    const MatmulTask& task;
    int64_t tile_size;  // bytes
    int32_t begin, end;
    int64_t first, last;

    const std::byte* weights(int64_t tile, int64_t unit) const {
      return task.tiles + tile * tile_size + unit * Small::kUnitBytes;
    }
  };

  // One panel, n_units units from `unit` on of two tiles. Asks for the weights at `next`, which are
  // unpacked after these.
  static void panel(const Chunk& c,
                    int64_t tile,
                    int64_t unit,
                    int64_t n_units,
                    const std::byte* next,
                    Sums* sums) {
    const MatmulTask& task = c.task;
    const int n_groups = static_cast<int>(n_units * Tile::kGroups);
    Panel p;
    unpack(c.weights(tile, unit), n_groups, 0, p);
    unpack(c.weights(tile + 1, unit), n_groups, 1, p);
    const int64_t calls = (c.end - c.begin) / kActBlockTokens * 3;
    const int64_t share = ceil_div(ceil_div(n_units * Small::kUnitBytes, 64), calls) * 64;
    for (int32_t token = c.begin; token < c.end; token += kActBlockTokens) {
      const ActBlock block = act_block(task.cols, task.n_tokens, token);
      const std::byte* act = task.act + block.offset + unit * Tile::kGroups * block.group_stride;
      const std::byte* next_block = act + act_groups(task.cols) * block.group_stride;
      const auto part = [&]<int kTokens>(int at) {
        const int after = at + kTokens;
        if (unit == c.first) {  // lines that results go to, or that the next pair's sums are in
          const int64_t row = (unit == 0 ? tile : tile + kTiles) * kTileRows;
          const float* out = task.out + (token + at) * task.out_stride + row;
          for (int t = 0; t < kTokens; ++t, out += task.out_stride) {
            __builtin_prefetch(out, 1);
            __builtin_prefetch(out + V::kLanes, 1);
          }
        }
        for (int64_t i = 0; i < share; i += 64) {
          _mm_prefetch(next + i, _MM_HINT_T0);
          _mm_prefetch(next + c.tile_size + i, _MM_HINT_T0);
        }
        next += share;
        tokens<kTokens>(p,
                        n_groups,
                        act + at * static_cast<int64_t>(sizeof(ActGroup)),
                        after < kActBlockTokens ? act + after * 64 : next_block,
                        block.group_stride,
                        unit == 0,
                        sums + (token - c.begin) + at);
      };
      part.template operator()<6>(0);
      part.template operator()<5>(6);
      part.template operator()<5>(11);
    }
  }

  // Two tiles, in panels of about the same size.
  static void pair(const Chunk& c, int64_t tile) {
    alignas(64) Sums sums[kSpan];
    const int64_t row = tile * kTileRows;
    const typename V::Mask rows[kTiles] = {V::first_lanes(c.task.rows - row),
                                           V::first_lanes(c.task.rows - row - kTileRows)};
    float* out = c.task.out + c.begin * c.task.out_stride + row;
    const int64_t stride = c.task.out_stride;
    if (c.first > 0) {
      for (int32_t t = 0; t < c.end - c.begin; ++t) {
#pragma GCC unroll 2
        for (int i = 0; i < kTiles; ++i)
          V::store(sums[t].lane[i], V::load(out + t * stride + i * V::kLanes, rows[i]));
      }
    }
    const int64_t n_panels = ceil_div(c.last - c.first, kUnits);
    const int64_t step = ceil_div(c.last - c.first, n_panels);
    for (int64_t unit = c.first; unit < c.last; unit += step) {
      const int64_t end = unit + step < c.last ? unit + step : c.last;
      const std::byte* next =
          end < c.last ? c.weights(tile, end) : c.weights(tile + kTiles, c.first);
      panel(c, tile, unit, end - unit, next, sums);
    }
    for (int32_t t = 0; t < c.end - c.begin; ++t, out += stride) {
#pragma GCC unroll 2
      for (int i = 0; i < kTiles; ++i)
        V::store(out + i * V::kLanes, V::load(sums[t].lane[i]), rows[i]);
    }
  }

  static void run(const MatmulTask& task) {
    if (task.n_tokens < kManyTokens || task.accumulate) return Small::run(task);
    const int32_t whole = task.n_tokens / kActBlockTokens * kActBlockTokens;
    const int64_t n_units = ceil_div(task.cols, Small::kUnitValues);
    const int64_t tile_size = n_units * Small::kUnitBytes;
    const int64_t pairs_end = task.tile_begin + (task.tile_end - task.tile_begin) / kTiles * kTiles;
    for (int32_t token = 0; token < whole; token += kSpan) {
      const int32_t token_end = token + kSpan < whole ? token + kSpan : whole;
      for (int64_t first = 0; first < n_units; first += kChunk) {
        const int64_t last = first + kChunk < n_units ? first + kChunk : n_units;
        const Chunk chunk{task, tile_size, token, token_end, first, last};
        for (int64_t tile = task.tile_begin; tile < pairs_end; tile += kTiles) pair(chunk, tile);
      }
    }
    Small::tiles(task, task.tile_begin, pairs_end, whole);
    Small::tiles(task, pairs_end, task.tile_end, 0);
  }
};

}  // namespace
}  // namespace farthing
