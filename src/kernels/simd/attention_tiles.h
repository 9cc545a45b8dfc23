// The two products of attention on one block of positions, for up to kGroup queries at a time:
// scores = q.k and sums += weights.values. A query's sums run in one fixed order (k: over the
// dimension; v: over the positions), whichever queries share its registers.
#pragma once

#include <cstring>

#include "kernels/attention_task.h"

namespace farthing {
namespace {

template <class V>
struct AttentionTiles {
  using F = typename V::F;
  static constexpr int32_t kLanes = V::kLanes;
  static constexpr int32_t kGroup = kLanes == 16 ? 8 : 6;  // with 2 vectors each, in registers
  static constexpr int32_t kScoreStride = AttentionScratch::kScoreStride;
  static_assert(kGroup <= AttentionScratch::kMaxGroup);

  template <KVType kType>
  static constexpr int64_t kBytes = kv_value_bytes(kType);

  // A vector of values; with int4, of the lower or the upper (kHalf) halves of bytes.
  template <KVType kType, int kHalf = 0>
  FARTHING_SIMD F load_values(const std::byte* p) {
    if constexpr (kType == KVType::kF32) return V::load(reinterpret_cast<const float*>(p));
    if constexpr (kType == KVType::kF16) return V::load_f16(p);
    if constexpr (kType == KVType::kBF16) return V::load_bf16(p);
    if constexpr (kType == KVType::kInt8) return V::load_int8(p);
    if constexpr (kType == KVType::kInt4) return V::template load_int4<kHalf>(p);
  }
  // The one at channel c of a row of V.
  template <KVType kType>
  FARTHING_SIMD F load_channels(const std::byte* row, int32_t c) {
    if constexpr (kType == KVType::kInt4) {
      const std::byte* piece = row + c / kInt4Piece * (kInt4Piece / 2) + c % (kInt4Piece / 2);
      if (c % kInt4Piece < kInt4Piece / 2) return load_values<kType, 0>(piece);
      return load_values<kType, 1>(piece);
    }
    return load_values<kType>(row + c * kBytes<kType>);
  }
  template <int64_t kCount>
  FARTHING_SIMD void prefetch(const std::byte* p) {
#pragma GCC unroll 8
    for (int64_t i = 0; i < kCount; i += 64) _mm_prefetch(p + i, _MM_HINT_T0);
  }

  // Of vectors in turn, the first of each line.
  FARTHING_SIMD void prefetch_line(const std::byte* p, int64_t offset) {
    if (offset % 64 == 0) _mm_prefetch(p + offset, _MM_HINT_T0);
  }

  // out[j][slot] = x[j][slot] * scale of the slot, for the block's positions.
  FARTHING_SIMD void scale(int32_t n_queries, const float* x, const std::byte* scales, float* out) {
#pragma GCC unroll 4
    for (int32_t at = 0; at < kKVBlockTokens; at += kLanes) {
      const F scale = V::load_f16(scales + 2 * at);
      for (int32_t j = 0; j < n_queries; ++j) {
        const int32_t there = j * kScoreStride + at;
        V::store(out + there, V::mul(V::load(x + there), scale));
      }
    }
  }

  // ---- scores ----

  // scores[j] = sum over d of q[d][j] * k[d] for the block's positions, times their scales if there
  // are any, added to what is there if `more`. `ahead`: the plane that comes next.
  template <KVType kType, int32_t kQueries>
  static void dots(const float* q,
                   const std::byte* k,
                   int32_t channels,
                   const std::byte* scales,
                   bool more,
                   float* scores,
                   const std::byte* ahead) {
    constexpr int32_t kStep = kv_k_row_channels(kType);
    constexpr int64_t kRow = kKVBlockTokens * kBytes<kType>;
    for (int32_t at = 0; at < kKVBlockTokens; at += 2 * kLanes) {
      F sum[kQueries][2];
#pragma GCC unroll 8
      for (int32_t j = 0; j < kQueries; ++j) sum[j][0] = sum[j][1] = V::zero_f();
      const std::byte* row = k + at * kBytes<kType>;
      const auto add = [&](const float* of, F low, F high) {
#pragma GCC unroll 8
        for (int32_t j = 0; j < kQueries; ++j) {
          const F x = V::set1_f(of[j]);
          sum[j][0] = V::fma(x, low, sum[j][0]);
          sum[j][1] = V::fma(x, high, sum[j][1]);
        }
      };
      for (int32_t d = 0; d < channels; d += kStep, row += kRow) {
        if (at == 0) prefetch_line(ahead, d / kStep * kRow);
        const float* of = q + int64_t{d} * kGroup;
        const std::byte* upper = row + kLanes * kBytes<kType>;
        add(of, load_values<kType>(row), load_values<kType>(upper));
        if constexpr (kStep == 2)
          add(of + kGroup, load_values<kType, 1>(row), load_values<kType, 1>(upper));
      }
#pragma GCC unroll 2
      for (int32_t i = 0; i < 2; ++i) {
        float* const out = scores + at + i * kLanes;
        if (scales == nullptr) {
#pragma GCC unroll 8
          for (int32_t j = 0; j < kQueries; ++j) V::store(out + j * kScoreStride, sum[j][i]);
          continue;
        }
        const F scale = V::load_f16(scales + 2 * (at + i * kLanes));
#pragma GCC unroll 8
        for (int32_t j = 0; j < kQueries; ++j) {
          const F before = more ? V::load(out + j * kScoreStride) : V::zero_f();
          V::store(out + j * kScoreStride, V::fma(sum[j][i], scale, before));
        }
      }
    }
  }
  template <KVType kType, int32_t kQueries = kGroup>
  FARTHING_SIMD void dots_of(int32_t n_queries,
                             const float* q,
                             const std::byte* k,
                             int32_t channels,
                             const std::byte* scales,
                             bool more,
                             float* scores,
                             const std::byte* ahead) {
    if (n_queries == kQueries)
      return dots<kType, kQueries>(q, k, channels, scales, more, scores, ahead);
    if constexpr (kQueries > 1) {
      dots_of<kType, kQueries - 1>(n_queries, q, k, channels, scales, more, scores, ahead);
    }
  }

  // ---- values ----

  struct Values {
    const std::byte* rows;   // of slot 0
    int64_t row_bytes;       // from slot to slot
    const std::byte* ahead;  // the plane that comes next, with rows as long
    int32_t columns;         // whole vectors
  };

  template <KVType kType, int32_t kQueries, int32_t kVectors>
  FARTHING_SIMD void add_columns(const Values& v,
                                 int32_t column,
                                 const float* weights,
                                 int32_t from,
                                 int32_t end,
                                 float* out,
                                 int64_t out_stride) {
    F sum[kQueries][kVectors];
#pragma GCC unroll 8
    for (int32_t j = 0; j < kQueries; ++j)
#pragma GCC unroll 4
      for (int32_t i = 0; i < kVectors; ++i)
        sum[j][i] = V::load(out + j * out_stride + column + i * kLanes);
    const int64_t offset = from * v.row_bytes;
    const std::byte* row = v.rows + offset;
    const std::byte* ahead =
        v.ahead + offset + (kType == KVType::kInt4 ? column / 2 : column * kBytes<kType>);
    for (int32_t slot = from; slot < end; ++slot, row += v.row_bytes, ahead += v.row_bytes) {
      prefetch<kVectors * kLanes * kBytes<kType>>(ahead);
      F values[kVectors];
#pragma GCC unroll 4
      for (int32_t i = 0; i < kVectors; ++i)
        values[i] = load_channels<kType>(row, column + i * kLanes);
#pragma GCC unroll 8
      for (int32_t j = 0; j < kQueries; ++j) {
        const F weight = V::set1_f(weights[j * kScoreStride + slot]);
#pragma GCC unroll 4
        for (int32_t i = 0; i < kVectors; ++i) sum[j][i] = V::fma(weight, values[i], sum[j][i]);
      }
    }
#pragma GCC unroll 8
    for (int32_t j = 0; j < kQueries; ++j)
#pragma GCC unroll 4
      for (int32_t i = 0; i < kVectors; ++i)
        V::store(out + j * out_stride + column + i * kLanes, sum[j][i]);
  }
  // out[j] += sum over slots [from, end) of weights[j][slot] * values[slot].
  template <KVType kType, int32_t kQueries>
  static void add(const Values& v,
                  const float* weights,
                  int32_t from,
                  int32_t end,
                  float* out,
                  int64_t out_stride) {
    constexpr int32_t kVectors = kQueries * 4 <= (kLanes == 16 ? 16 : 8) ? 4 : 2;
    int32_t column = 0;
    for (; column + kVectors * kLanes <= v.columns; column += kVectors * kLanes) {
      add_columns<kType, kQueries, kVectors>(v, column, weights, from, end, out, out_stride);
    }
    for (; column < v.columns; column += kLanes) {
      add_columns<kType, kQueries, 1>(v, column, weights, from, end, out, out_stride);
    }
  }
  template <KVType kType, int32_t kQueries = kGroup>
  FARTHING_SIMD void add_of(int32_t n_queries,
                            const Values& v,
                            const float* weights,
                            int32_t from,
                            int32_t end,
                            float* out,
                            int64_t out_stride) {
    if (n_queries == kQueries) {
      return add<kType, kQueries>(v, weights, from, end, out, out_stride);
    }
    if constexpr (kQueries > 1) {
      add_of<kType, kQueries - 1>(n_queries, v, weights, from, end, out, out_stride);
    }
  }

  // ---- one block in f32, which many queries then read from L1 ----

  template <KVType kType>
  static void widen(const std::byte* k, int64_t bytes, const std::byte* ahead, float* out) {
    constexpr int64_t kRow = kKVBlockTokens * kBytes<kType>;
    for (int64_t row = 0; row < bytes; row += kRow) {
      for (int32_t at = 0; at < kKVBlockTokens; at += kLanes) {
        const std::byte* values = k + row + at * kBytes<kType>;
        prefetch_line(ahead, row + at * kBytes<kType>);
        V::store(out + at, load_values<kType>(values));
        if constexpr (kType == KVType::kInt4)
          V::store(out + kKVBlockTokens + at, load_values<kType, 1>(values));
      }
      out += kKVBlockTokens * kv_k_row_channels(kType);
    }
  }
  // Slots [from, end) of V, rows `columns` apart and zero-padded to that.
  template <KVType kType>
  static void widen_rows(const Values& v, int32_t head_dim, int32_t from, int32_t end, float* out) {
    for (int32_t slot = from; slot < end; ++slot) {
      const std::byte* row = v.rows + slot * v.row_bytes;
      float* to = out + int64_t{slot} * v.columns;
      for (int64_t at = 0; at < v.row_bytes; at += 64)
        _mm_prefetch(v.ahead + slot * v.row_bytes + at, _MM_HINT_T0);
      int32_t i = 0;
      const int32_t there = kType == KVType::kInt4 ? v.columns : head_dim;  // int4 has the padding
      for (; i + kLanes <= there; i += kLanes) V::store(to + i, load_channels<kType>(row, i));
      if (i < there) {
        alignas(64) std::byte tail[64] = {};
        std::memcpy(
            tail, row + i * kBytes<kType>, static_cast<size_t>((head_dim - i) * kBytes<kType>));
        V::store(to + i, load_values<kType>(tail));
      }
    }
  }
};

}  // namespace
}  // namespace farthing
