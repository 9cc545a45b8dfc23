// The matmul of integer formats for many tokens: two vectors of rows at a time are unpacked to a
// panel of bytes and f32 scales that stays in L1, and all tokens go over it. The arithmetic is
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
  static constexpr int kVectors = 2;
  static constexpr int64_t kTiles = kVectors * V::kLanes / kTileRows;
  static constexpr int kGroups = 8;  // of 32 values: a whole number of units of every format
  static constexpr int kPer = Tile::kHalves ? 2 : 1;
  static constexpr bool kSigned = Tile::kSigned && !V::kVnni;
  static_assert(kGroups % Tile::kGroups == 0);

  struct Panel {
    alignas(64) uint8_t w[kGroups][8][kVectors][V::kLanes * 4];
    // Without VNNI `w` has the amounts of signed bytes and this the bytes.
    alignas(64) uint8_t value[kSigned ? kGroups : 1][8][kVectors][V::kLanes * 4];
    alignas(64) float scale[kGroups][kPer][kVectors][V::kLanes];
    alignas(64) float min[Tile::kMin ? kGroups : 1][kPer][kVectors][V::kLanes];
  };

  struct alignas(64) Sums {  // of one token
    float lane[kVectors][V::kLanes];
  };
  // From so many tokens on it is faster than the kernel for few, which unpacks in registers what
  // it needs (decisions/0005).
  static constexpr int32_t kFrom = V::kLanes == 16 ? 64 : 3;
  // Tokens at a time; 16 are three times as many as registers have room for with 512 bits.
  static constexpr int32_t kStep = V::kLanes == 16 ? kActBlockTokens : 4;
  // Tokens, and values of k, whose activations stay in L2 while all tiles go over them: the sums
  // of a span's tokens go through the output rows from chunk to chunk.
  static constexpr int32_t kSpan = 128;
  static constexpr int64_t kUnits = kGroups / Tile::kGroups;  // of a panel
  static constexpr int64_t kChunk = 64 / kGroups * kUnits;

  template <int kGroup = 0>
  FARTHING_SIMD void unpack_part(const std::byte* unit, int part, int first, int vector, Panel& p) {
    I w[8];
    Tile::template quads<kGroup>(unit, part, w);
    const int group = first + part * Tile::kPart + kGroup;
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      if constexpr (kSigned) {
        const I value = V::bit_xor(w[j], V::set1_bytes(0x80));
        V::store_line(p.value[group][j][vector], value);
        V::store_line(p.w[group][j][vector], V::abs_bytes(value));
      } else {
        V::store_line(p.w[group][j][vector], w[j]);
      }
    }
    if constexpr (kGroup + 1 < Tile::kPart) unpack_part<kGroup + 1>(unit, part, first, vector, p);
  }

  // n_groups groups of one vector of rows.
  [[gnu::noinline]] static void unpack(const std::byte* unit, int n_groups, int vector, Panel& p) {
    for (int first = 0; first < n_groups; first += Tile::kGroups, unit += Small::kUnitBytes) {
      typename Small::Scales s;
      Tile::header(unit, s.scale, s.min);
#pragma GCC unroll 16
      for (int i = 0; i < Small::kScales; ++i) {
        V::store(p.scale[first + i / kPer][i % kPer][vector], s.scale[i]);
        if constexpr (Tile::kMin) V::store(p.min[first + i / kPer][i % kPer][vector], s.min[i]);
      }
#pragma GCC unroll 1
      for (int part = 0; part < Tile::kGroups / Tile::kPart; ++part)
        unpack_part(unit, part, first, vector, p);
    }
  }

  // What the integer sums of a group or of its half start at.
  template <int kHalf>
  FARTHING_SIMD I start(const ActGroup& a) {
    if constexpr (kPer == 1) return Small::start(a);
    if constexpr (kPer == 2) return Small::template start_half<kHalf>(a);
  }
  // The integer sums of a group or of its half, of kTokens tokens with both vectors.
  template <int kTokens, int kHalf>
  FARTHING_SIMD void products(const Panel& p,
                              int g,
                              const ActGroup* a,
                              I (&sum)[kTokens][kVectors]) {
    constexpr int kQuads = 8 / kPer, kFirst = kQuads * kHalf;
    if constexpr (V::kVnni) {
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) sum[t][0] = sum[t][1] = start<kHalf>(a[t]);
#pragma GCC unroll 8
      for (int j = kFirst; j < kFirst + kQuads; ++j) {
        const I w0 = V::load_line(p.w[g][j][0]), w1 = V::load_line(p.w[g][j][1]);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          const I x = V::broadcast(a[t].q + 4 * j);
          sum[t][0] = V::dot_unsigned(sum[t][0], w0, x);
          sum[t][1] = V::dot_unsigned(sum[t][1], w1, x);
        }
      }
    } else {
      constexpr int kSteps = Small::kFit < kQuads ? Small::kFit : kQuads;
#pragma GCC unroll 8
      for (int first = kFirst; first < kFirst + kQuads; first += kSteps) {
        I pairs[kTokens][kVectors];
#pragma GCC unroll 8
        for (int j = first; j < first + kSteps; ++j) {
          const I w0 = V::load_line(p.w[g][j][0]), w1 = V::load_line(p.w[g][j][1]);
#pragma GCC unroll 8
          for (int t = 0; t < kTokens; ++t) {
            const I x = V::broadcast(a[t].q + 4 * j);
            const I p0 = V::pair_products(w0, signed_as(x, p, g, j, 0));
            const I p1 = V::pair_products(w1, signed_as(x, p, g, j, 1));
            pairs[t][0] = j == first ? p0 : V::add_pairs(pairs[t][0], p0);
            pairs[t][1] = j == first ? p1 : V::add_pairs(pairs[t][1], p1);
          }
        }
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          if (first == kFirst) sum[t][0] = sum[t][1] = start<kHalf>(a[t]);
          sum[t][0] = V::widen_pairs(sum[t][0], pairs[t][0]);
          sum[t][1] = V::widen_pairs(sum[t][1], pairs[t][1]);
        }
      }
    }
  }
  // x with the signs of the weights that it is multiplied with.
  FARTHING_SIMD I signed_as(I x, const Panel& p, int g, int j, int vector) {
    if constexpr (kSigned) return V::sign_bytes(x, V::load_line(p.value[g][j][vector]));
    return x;
  }

  // Quads [8 / kPer * half, ...) of kTokens tokens against both vectors, scaled onto acc.
  template <int kTokens, int kHalf>
  FARTHING_SIMD void add_half(const Panel& p,
                              int g,
                              const ActGroup* a,
                              F (&acc)[kTokens][kVectors]) {
    I sum[kTokens][kVectors];
    products<kTokens, kHalf>(p, g, a, sum);
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
                                  F (&acc)[kTokens][kVectors]) {
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
    F acc[kTokens][kVectors];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int i = 0; i < kVectors; ++i) acc[t][i] = first ? V::zero_f() : V::load(sums[t].lane[i]);
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
      for (int i = 0; i < kVectors; ++i) V::store(sums[t].lane[i], acc[t][i]);
    }
  }

  // Tokens [begin, end) against units [first, last) of k, in steps of kStep, the last one perhaps
  // with tokens that there are not. Sums of the units before are in task.out, where sums go.
  struct Chunk {
    const MatmulTask& task;
    int64_t tile_size;  // bytes
    int32_t begin, end;
    int64_t first, last;

    const std::byte* weights(int64_t tile, int64_t unit) const {
      return task.tiles + tile * tile_size + unit * Small::kUnitBytes;
    }
    int32_t n_tokens() const { return (end < task.n_tokens ? end : task.n_tokens) - begin; }
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
    unpack(kTiles == 2 ? c.weights(tile + 1, unit) : c.weights(tile, unit) + 4 * V::kLanes,
           n_groups,
           1,
           p);
    const int64_t calls = (c.end - c.begin) / kStep * (kStep == kActBlockTokens ? 3 : 1);
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
            if (kTiles == 2) __builtin_prefetch(out + V::kLanes, 1);
          }
        }
        for (int64_t i = 0; i < share; i += 64) {
          _mm_prefetch(next + i, _MM_HINT_T0);
          if (kTiles == 2) _mm_prefetch(next + c.tile_size + i, _MM_HINT_T0);
        }
        next += share;
        tokens<kTokens>(p,
                        n_groups,
                        act + at * static_cast<int64_t>(sizeof(ActGroup)),
                        after < block.width ? act + after * 64 : next_block,
                        block.group_stride,
                        unit == 0,
                        sums + (token - c.begin) + at);
      };
      if constexpr (kStep == kActBlockTokens) {
        part.template operator()<6>(0);
        part.template operator()<5>(6);
        part.template operator()<5>(11);
      } else {
        const int32_t left = c.end - token;
        for (int at = 0; at < block.width && at < left; at += kStep)
          part.template operator()<kStep>(at);
      }
    }
  }

  // Two vectors of rows, in panels of about the same size.
  static void pair(const Chunk& c, int64_t tile) {
    alignas(64) Sums sums[kSpan];
    const int64_t row = tile * kTileRows;
    const typename V::Mask rows[kVectors] = {V::first_lanes(c.task.rows - row),
                                             V::first_lanes(c.task.rows - row - V::kLanes)};
    float* out = c.task.out + c.begin * c.task.out_stride + row;
    const int64_t stride = c.task.out_stride;
    if (c.first > 0) {
      for (int32_t t = 0; t < c.n_tokens(); ++t) {
#pragma GCC unroll 2
        for (int i = 0; i < kVectors; ++i)
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
    for (int32_t t = 0; t < c.n_tokens(); ++t, out += stride) {
#pragma GCC unroll 2
      for (int i = 0; i < kVectors; ++i)
        Small::put(c.task, out + i * V::kLanes, V::load(sums[t].lane[i]), rows[i]);
    }
  }

  // How many of n tokens panels take, rounded up to a step: those of blocks that have room for one.
  static constexpr int32_t in_panels(int32_t n) {
    const int32_t rest = n % kActBlockTokens;
    const bool fits = kStep < kActBlockTokens && rest > kStep / 2;
    return fits ? (n + kStep - 1) / kStep * kStep : n - rest;
  }

  static void run(const MatmulTask& task) {
    if (task.n_tokens < kFrom) return Small::run(task);
    const int32_t whole = in_panels(task.n_tokens);
    const int64_t n_units = ceil_div(task.cols, Small::kUnitValues);
    const int64_t tile_size = n_units * Small::kUnitBytes;
    const int64_t step = task.accumulate ? n_units : kChunk;  // sums to come need out's rows
    const int64_t pairs_end = task.tile_begin + (task.tile_end - task.tile_begin) / kTiles * kTiles;
    for (int32_t token = 0; token < whole; token += kSpan) {
      const int32_t token_end = token + kSpan < whole ? token + kSpan : whole;
      for (int64_t first = 0; first < n_units; first += step) {
        const int64_t last = first + step < n_units ? first + step : n_units;
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
