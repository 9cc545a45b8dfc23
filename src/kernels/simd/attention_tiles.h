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

  template <KVType kType>
  FARTHING_SIMD F load_values(const std::byte* p) {
    if constexpr (kType == KVType::kF32) return V::load(reinterpret_cast<const float*>(p));
    if constexpr (kType == KVType::kF16) return V::load_f16(p);
    if constexpr (kType == KVType::kBF16) return V::load_bf16(p);
    if constexpr (kType == KVType::kInt8) return V::load_int8(p);
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

  // x[j][slot] *= scale of the slot, for the block's positions.
  FARTHING_SIMD void rescale(int32_t n_queries, const std::byte* scales, float* x) {
#pragma GCC unroll 4
    for (int32_t at = 0; at < kKVBlockTokens; at += kLanes) {
      const F scale = V::load_f16(scales + 2 * at);
      for (int32_t j = 0; j < n_queries; ++j) {
        float* const there = x + j * kScoreStride + at;
        V::store(there, V::mul(V::load(there), scale));
      }
    }
  }

  // ---- scores ----

  // scores[j] = sum over d of q[d][j] * k[d] for the block's positions. `ahead`: the plane that
  // comes next.
  template <KVType kType, int32_t kQueries>
  static void dots(
      const float* q, const std::byte* k, int32_t head_dim, float* scores, const std::byte* ahead) {
    constexpr int64_t kRow = kKVBlockTokens * kBytes<kType>;
    for (int32_t at = 0; at < kKVBlockTokens; at += 2 * kLanes) {
      F sum[kQueries][2];
#pragma GCC unroll 8
      for (int32_t j = 0; j < kQueries; ++j) sum[j][0] = sum[j][1] = V::zero_f();
      const std::byte* row = k + at * kBytes<kType>;
      for (int32_t d = 0; d < head_dim; ++d, row += kRow) {
        if (at == 0 && (kRow >= 64 || d % 2 == 0)) prefetch<kRow>(ahead + d * kRow);
        const F low = load_values<kType>(row);
        const F high = load_values<kType>(row + kLanes * kBytes<kType>);
#pragma GCC unroll 8
        for (int32_t j = 0; j < kQueries; ++j) {
          const F x = V::set1_f(q[int64_t{d} * kGroup + j]);
          sum[j][0] = V::fma(x, low, sum[j][0]);
          sum[j][1] = V::fma(x, high, sum[j][1]);
        }
      }
#pragma GCC unroll 8
      for (int32_t j = 0; j < kQueries; ++j) {
        V::store(scores + j * kScoreStride + at, sum[j][0]);
        V::store(scores + j * kScoreStride + at + kLanes, sum[j][1]);
      }
    }
  }
  template <KVType kType, int32_t kQueries = kGroup>
  FARTHING_SIMD void dots_of(int32_t n_queries,
                             const float* q,
                             const std::byte* k,
                             int32_t head_dim,
                             float* scores,
                             const std::byte* ahead) {
    if (n_queries == kQueries) return dots<kType, kQueries>(q, k, head_dim, scores, ahead);
    if constexpr (kQueries > 1) {
      dots_of<kType, kQueries - 1>(n_queries, q, k, head_dim, scores, ahead);
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
    const int64_t offset = column * kBytes<kType> + from * v.row_bytes;
    const std::byte* row = v.rows + offset;
    const std::byte* ahead = v.ahead + offset;
    for (int32_t slot = from; slot < end; ++slot, row += v.row_bytes, ahead += v.row_bytes) {
      prefetch<kVectors * kLanes * kBytes<kType>>(ahead);
      F values[kVectors];
#pragma GCC unroll 4
      for (int32_t i = 0; i < kVectors; ++i)
        values[i] = load_values<kType>(row + i * kLanes * kBytes<kType>);
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
  static void widen(const std::byte* k, int64_t n, const std::byte* ahead, float* out) {
    for (int64_t i = 0; i < n; i += kLanes) {  // n is a multiple of kKVBlockTokens
      prefetch_line(ahead, i * kBytes<kType>);
      V::store(out + i, load_values<kType>(k + i * kBytes<kType>));
    }
  }
  // Slots [from, end) of V, rows `columns` apart and zero-padded to that.
  template <KVType kType>
  static void widen_rows(const Values& v, int32_t head_dim, int32_t from, int32_t end, float* out) {
    for (int32_t slot = from; slot < end; ++slot) {
      const std::byte* row = v.rows + slot * v.row_bytes;
      float* to = out + int64_t{slot} * v.columns;
      int32_t i = 0;
      for (; i + kLanes <= head_dim; i += kLanes) {
        prefetch_line(v.ahead, slot * v.row_bytes + i * kBytes<kType>);
        V::store(to + i, load_values<kType>(row + i * kBytes<kType>));
      }
      if (i < head_dim) {
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
