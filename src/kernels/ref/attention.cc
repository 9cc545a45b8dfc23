#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/half.h"
#include "kernels/ref/ref.h"

namespace farthing {
namespace {

constexpr DType stored_as(KVType type) {
  return type == KVType::kF32 ? DType::kF32 : type == KVType::kF16 ? DType::kF16 : DType::kBF16;
}
uint16_t load_scale(const std::byte* plane, int32_t head_dim, int32_t slot) {
  uint16_t scale;
  std::memcpy(&scale, plane + kv_scales_at(KVType::kInt8, head_dim) + 2 * slot, sizeof scale);
  return scale;
}

// In place, in blocks of hadamard_block(n): the sums of kernels/simd/hadamard.h.
void hadamard(float* x, int32_t n) {
  const int32_t block = hadamard_block(n);
  const float factor = 1 / std::sqrt(static_cast<float>(block));
  for (int32_t i = 0; i < n; ++i) x[i] *= factor;
  for (int32_t stride = 1; stride < block; stride *= 2) {
    for (int32_t first = 0; first < n; first += 2 * stride) {
      for (int32_t i = first; i < first + stride; ++i) {
        const float a = x[i], b = x[i + stride];
        x[i] = a + b;
        x[i + stride] = a - b;
      }
    }
  }
}

// Value i of the transform at `at`, in a slot's own scale.
void store_int8(const float* head, int32_t head_dim, std::byte* plane, int32_t slot, auto at) {
  std::array<float, kMaxHeadDim> x;
  std::copy_n(head, head_dim, x.begin());
  hadamard(x.data(), head_dim);
  float amax = 0;
  for (int32_t i = 0; i < head_dim; ++i)
    amax = std::isfinite(x[i]) ? std::max(amax, std::fabs(x[i])) : NAN;
  uint16_t scale = std::isnan(amax) ? 0x7e00 : f32_to_f16(amax / 127);
  if (f16_to_f32(scale) < amax / 127) ++scale;
  std::memcpy(plane + kv_scales_at(KVType::kInt8, head_dim) + 2 * slot, &scale, sizeof scale);
  const float inverse = scale == 0 || std::isnan(amax) ? 0 : 1 / f16_to_f32(scale);
  for (int32_t i = 0; i < head_dim; ++i) {
    const float q = inverse == 0 ? 0 : std::clamp(x[i] * inverse, -127.0f, 127.0f);
    plane[at(i)] = static_cast<std::byte>(static_cast<int8_t>(std::nearbyint(q)));
  }
}

template <KVType kType>
void store_k(const float* x, int32_t head_dim, std::byte* plane, int32_t slot) {
  const auto at = [&](int64_t i) { return i * kKVBlockTokens + slot; };
  if constexpr (kType == KVType::kInt8) return store_int8(x, head_dim, plane, slot, at);
  for (int64_t i = 0; i < head_dim; ++i) {
    format_of(stored_as(kType)).encode(x + i, plane + at(i) * kv_value_bytes(kType), 1);
  }
}
template <KVType kType>
void store_v(const float* x, int32_t head_dim, std::byte* plane, int32_t slot) {
  const int64_t first = int64_t{slot} * head_dim;
  if constexpr (kType == KVType::kInt8)
    return store_int8(x, head_dim, plane, slot, [&](int64_t i) { return first + i; });
  format_of(stored_as(kType)).encode(x, plane + first * kv_value_bytes(kType), head_dim);
}

// Value `at` of a plane, of a position in `slot`.
template <KVType kType>
float load_value(const std::byte* plane, int32_t head_dim, int32_t slot, int64_t at) {
  float x;
  if constexpr (kType == KVType::kInt8) {
    x = static_cast<float>(static_cast<int8_t>(plane[at])) *
        f16_to_f32(load_scale(plane, head_dim, slot));
  } else {
    format_of(stored_as(kType)).decode(plane + at * kv_value_bytes(kType), &x, 1);
  }
  return x;
}
// Value i of position p, of K or V.
template <KVType kType>
float load_k(const AttentionTask& task, int32_t p, int32_t i) {
  const std::byte* block =
      task.k_plane + int64_t{task.blocks[p / kKVBlockTokens].v} * task.block_stride;
  const int32_t slot = p % kKVBlockTokens;
  return load_value<kType>(block, task.head_dim, slot, int64_t{i} * kKVBlockTokens + slot);
}
template <KVType kType>
void load_v(const AttentionTask& task, int32_t p, float* out) {
  const std::byte* block =
      task.v_plane + int64_t{task.blocks[p / kKVBlockTokens].v} * task.block_stride;
  const int32_t slot = p % kKVBlockTokens;
  for (int32_t i = 0; i < task.head_dim; ++i)
    out[i] = load_value<kType>(block, task.head_dim, slot, int64_t{slot} * task.head_dim + i);
}

template <KVType kType>
float score(const AttentionTask& task, const float* q, int32_t p) {
  float sum = 0;
  for (int32_t i = 0; i < task.head_dim; ++i) sum += q[i] * load_k<kType>(task, p, i);
  const float s = sum * task.scale;
  return task.softcap > 0 ? task.softcap * std::tanh(s / task.softcap) : s;
}

struct Query {
  const float* q;
  float* out;
  int32_t begin, position;  // the first and last position it sees
};

template <class Fn>
void for_queries(const AttentionTask& task, Fn fn) {
  for (int32_t r = 0; r < task.n_rows; ++r) {
    const int32_t position = task.position + r;
    for (int32_t h = 0; h < task.n_heads; ++h) {
      fn(Query{task.q + r * task.q_stride + int64_t{h} * task.head_dim,
               task.out + r * task.out_stride + int64_t{h} * task.head_dim,
               attention_begin(position, task.window),
               position});
    }
  }
}

// The part of positions [first, last]; `scores` has room for them.
template <KVType kType>
void attend(const AttentionTask& task,
            const float* q,
            int32_t first,
            int32_t last,
            float* scores,
            float* part) {
  std::array<float, kMaxHeadDim> transformed;
  if constexpr (kType == KVType::kInt8) {
    std::copy_n(q, task.head_dim, transformed.begin());
    hadamard(transformed.data(), task.head_dim);
    q = transformed.data();
  }
  float highest = -std::numeric_limits<float>::infinity();
  for (int32_t p = first; p <= last; ++p) {
    scores[p - first] = score<kType>(task, q, p);
    highest = std::max(highest, scores[p - first]);
  }
  float total = 0;
  float* sums = part + kPartHeader;
  std::fill_n(sums, task.head_dim, 0.0f);
  std::array<float, kMaxHeadDim> v;
  for (int32_t p = first; p <= last; ++p) {
    const float weight = std::exp(scores[p - first] - highest);
    total += weight;
    load_v<kType>(task, p, v.data());
    for (int32_t i = 0; i < task.head_dim; ++i) sums[i] += weight * v[i];
  }
  part[0] = highest;
  part[1] = total;
}

template <KVType kType>
void attend_segment(const AttentionTask& task, const Query& query, int32_t segment, float* part) {
  std::array<float, kAttentionSegment> scores;
  const int32_t start = segment * kAttentionSegment;
  attend<kType>(task,
                query.q,
                std::max(query.begin, start),
                std::min(query.position, start + kAttentionSegment - 1),
                scores.data(),
                part);
}

// sum += part, both relative to their own highest score.
void merge_part(int32_t head_dim, const float* part, float* sum) {
  const float highest = std::max(sum[0], part[0]);
  const float keep = std::exp(sum[0] - highest), take = std::exp(part[0] - highest);
  sum[0] = highest;
  sum[1] = sum[1] * keep + part[1] * take;
  for (int32_t i = 0; i < head_dim; ++i) {
    sum[kPartHeader + i] = sum[kPartHeader + i] * keep + part[kPartHeader + i] * take;
  }
}

template <KVType kType>
void write(int32_t head_dim, const float* sum, float* out) {
  for (int32_t i = 0; i < head_dim; ++i) out[i] = sum[kPartHeader + i] / sum[1];
  if constexpr (kType == KVType::kInt8) hadamard(out, head_dim);
}

using Part = std::array<float, attention_part_floats(kMaxHeadDim)>;

template <KVType kType>
void rows(const AttentionTask& task) {
  int64_t known_offset = 0;  // of this query in task.known
  for_queries(task, [&](const Query& query) {
    Part sum, part;
    const auto part_of = [&](int32_t s, float* out) {
      if (s < task.n_known) {
        std::copy_n(task.known + s * task.known_stride + known_offset,
                    attention_part_floats(task.head_dim),
                    out);
      } else {
        attend_segment<kType>(task, query, s, out);
      }
    };
    const int32_t first = query.begin / kAttentionSegment;
    part_of(first, sum.data());
    for (int32_t s = first + 1; s <= query.position / kAttentionSegment; ++s) {
      part_of(s, part.data());
      merge_part(task.head_dim, part.data(), sum.data());
    }
    write<kType>(task.head_dim, sum.data(), query.out);
    known_offset += attention_part_floats(task.head_dim);
  });
}

template <KVType kType>
void segment(const AttentionTask& task, int32_t segment, float* part) {
  for_queries(task, [&](const Query& query) {
    attend_segment<kType>(task, query, segment, part);
    part += attention_part_floats(task.head_dim);
  });
}

template <KVType kType>
void merge(const AttentionTask& task, const float* parts, int32_t n_segments) {
  const int64_t size = attention_part_floats(task.head_dim);
  for_queries(task, [&](const Query& query) {
    Part sum;
    std::copy_n(parts, size, sum.data());
    for (int32_t s = 1; s < n_segments; ++s) {
      merge_part(task.head_dim, parts + s * task.n_heads * size, sum.data());
    }
    write<kType>(task.head_dim, sum.data(), query.out);
    parts += size;
  });
}

template <KVType kType>
void naive(const AttentionTask& task) {
  for_queries(task, [&](const Query& query) {
    Part sum;
    attend<kType>(task, query.q, query.begin, query.position, task.scratch, sum.data());
    write<kType>(task.head_dim, sum.data(), query.out);
  });
}

template <KVType kType>
constexpr AttentionKernels kKernels = {rows<kType>, segment<kType>, merge<kType>, naive<kType>};

}  // namespace

StoreKVFn ref_store_k(KVType type) {
  static constexpr std::array<StoreKVFn, kKVTypeCount> kTable = {
      store_k<KVType::kF32>, store_k<KVType::kF16>, store_k<KVType::kBF16>, store_k<KVType::kInt8>};
  return kTable[static_cast<size_t>(type)];
}

StoreKVFn ref_store_v(KVType type) {
  static constexpr std::array<StoreKVFn, kKVTypeCount> kTable = {
      store_v<KVType::kF32>, store_v<KVType::kF16>, store_v<KVType::kBF16>, store_v<KVType::kInt8>};
  return kTable[static_cast<size_t>(type)];
}

AttentionKernels ref_attention(KVType type) {
  static constexpr std::array<AttentionKernels, kKVTypeCount> kTable = {kKernels<KVType::kF32>,
                                                                        kKernels<KVType::kF16>,
                                                                        kKernels<KVType::kBF16>,
                                                                        kKernels<KVType::kInt8>};
  return kTable[static_cast<size_t>(type)];
}

}  // namespace farthing
