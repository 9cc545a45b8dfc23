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

// One stored value among others: where its byte is, which half of it (int4), where its scale.
struct Place {
  std::byte* value;
  bool upper;
  std::byte* scale;
};
// Value i of the position in `slot`, of K and of V.
Place k_place(KVType type, int32_t head_dim, std::byte* plane, int32_t slot, int32_t i) {
  const KVPlane layout = kv_k_plane(type, head_dim);
  const int32_t row = i / kv_k_row_channels(type), group = i / kv_scale_channels(type);
  return {plane + row * layout.row_bytes + slot * kv_value_bytes(type),
          i % kv_k_row_channels(type) == 1,
          plane + layout.scales_at + 2 * (group * kKVBlockTokens + slot)};
}
Place v_place(KVType type, int32_t head_dim, std::byte* plane, int32_t slot, int32_t i) {
  const KVPlane layout = kv_v_plane(type, head_dim);
  const int32_t group = i / kv_scale_channels(type);
  constexpr int32_t kHalf = kInt4Piece / 2;
  const bool halves = type == KVType::kInt4;
  const int64_t at = halves ? i / kInt4Piece * kHalf + i % kHalf : i * kv_value_bytes(type);
  return {plane + slot * layout.row_bytes + at,
          halves && i % kInt4Piece >= kHalf,
          plane + layout.scales_at + 2 * (group * kKVBlockTokens + slot)};
}

uint16_t scale_of(KVType type, const float* x, int32_t n) {
  float far = 0;  // the value farthest from 0
  for (int32_t i = 0; i < n; ++i) {
    if (!std::isfinite(x[i])) return 0x7e00;
    const float a = std::fabs(x[i]), b = std::fabs(far);
    if (a > b || (a == b && x[i] > far)) far = x[i];
  }
  if (type == KVType::kInt4) return f32_to_f16(far / -8);
  const uint16_t scale = f32_to_f16(std::fabs(far) / 127);
  return static_cast<uint16_t>(scale + (f16_to_f32(scale) < std::fabs(far) / 127 ? 1 : 0));
}
int8_t quantised(KVType type, float x, float scale) {
  if (scale == 0 || std::isnan(scale)) return 0;
  const bool int8 = type == KVType::kInt8;
  return static_cast<int8_t>(
      std::nearbyint(std::clamp(x * (1 / scale), int8 ? -127.0f : -8.0f, int8 ? 127.0f : 7.0f)));
}
// The head, each value in the place that `place` gives for it.
void store_scaled(KVType type, const float* head, int32_t head_dim, auto place) {
  std::array<float, kMaxHeadDim> x;
  std::copy_n(head, head_dim, x.begin());
  hadamard(x.data(), head_dim);
  for (int32_t c = 0; c < head_dim; c += kv_scale_channels(type)) {
    const int32_t n = std::min(kv_scale_channels(type), head_dim - c);
    const uint16_t scale = scale_of(type, x.data() + c, n);
    std::memcpy(place(c).scale, &scale, sizeof scale);
    for (int32_t i = c; i < c + n; ++i) {
      const int8_t q = quantised(type, x[i], f16_to_f32(scale));
      const Place there = place(i);
      if (type == KVType::kInt8) {
        *there.value = static_cast<std::byte>(q);
      } else {
        const std::byte keep = *there.value & std::byte(there.upper ? 0x0f : 0xf0);
        *there.value = keep | static_cast<std::byte>((q + 8) << (there.upper ? 4 : 0));
      }
    }
  }
}

template <KVType kType>
void store_k(const float* x, int32_t head_dim, std::byte* plane, int32_t slot) {
  const auto place = [&](int32_t i) { return k_place(kType, head_dim, plane, slot, i); };
  if constexpr (kv_is_scaled(kType)) {
    // What fills the last row up.
    if (kType == KVType::kInt4 && head_dim % 2 != 0) *place(head_dim - 1).value = std::byte{0x80};
    store_scaled(kType, x, head_dim, place);
  } else {
    for (int32_t i = 0; i < head_dim; ++i)
      format_of(stored_as(kType)).encode(x + i, place(i).value, 1);
  }
}
template <KVType kType>
void store_v(const float* x, int32_t head_dim, std::byte* plane, int32_t slot) {
  const auto place = [&](int32_t i) { return v_place(kType, head_dim, plane, slot, i); };
  if constexpr (kv_is_scaled(kType)) {
    if (kType == KVType::kInt4)
      std::fill_n(place(0).value, kv_v_plane(kType, head_dim).row_bytes, std::byte{0x88});
    store_scaled(kType, x, head_dim, place);
  } else {
    format_of(stored_as(kType)).encode(x, place(0).value, head_dim);
  }
}

float load_value(KVType type, Place place) {
  float x;
  if (!kv_is_scaled(type)) {
    format_of(stored_as(type)).decode(place.value, &x, 1);
    return x;
  }
  uint16_t scale;
  std::memcpy(&scale, place.scale, sizeof scale);
  const auto byte = static_cast<uint8_t>(*place.value);
  const int q =
      type == KVType::kInt8 ? static_cast<int8_t>(byte) : (byte >> (place.upper ? 4 : 0) & 15) - 8;
  return static_cast<float>(q) * f16_to_f32(scale);
}
// The plane of position p; only read.
std::byte* plane_of(const AttentionTask& task, const std::byte* first, int32_t p) {
  return const_cast<std::byte*>(first) +
         int64_t{task.blocks[p / kKVBlockTokens].v} * task.block_stride;
}
// Value i of position p, of K or V.
float load_k(const AttentionTask& task, int32_t p, int32_t i) {
  std::byte* plane = plane_of(task, task.k_plane, p);
  return load_value(task.types.k,
                    k_place(task.types.k, task.head_dim, plane, p % kKVBlockTokens, i));
}
float load_v(const AttentionTask& task, int32_t p, int32_t i) {
  std::byte* plane = plane_of(task, task.v_plane, p);
  return load_value(task.types.v,
                    v_place(task.types.v, task.head_dim, plane, p % kKVBlockTokens, i));
}

float score(const AttentionTask& task, const float* q, int32_t p) {
  float sum = 0;
  for (int32_t i = 0; i < task.head_dim; ++i) sum += q[i] * load_k(task, p, i);
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
void attend(const AttentionTask& task,
            const float* q,
            int32_t first,
            int32_t last,
            float* scores,
            float* part) {
  std::array<float, kMaxHeadDim> transformed;
  if (kv_is_scaled(task.types.k)) {
    std::copy_n(q, task.head_dim, transformed.begin());
    hadamard(transformed.data(), task.head_dim);
    q = transformed.data();
  }
  float highest = -std::numeric_limits<float>::infinity();
  for (int32_t p = first; p <= last; ++p) {
    scores[p - first] = score(task, q, p);
    highest = std::max(highest, scores[p - first]);
  }
  float total = 0;
  float* sums = part + kPartHeader;
  std::fill_n(sums, task.head_dim, 0.0f);
  for (int32_t p = first; p <= last; ++p) {
    const float weight = std::exp(scores[p - first] - highest);
    total += weight;
    for (int32_t i = 0; i < task.head_dim; ++i) sums[i] += weight * load_v(task, p, i);
  }
  part[0] = highest;
  part[1] = total;
}

void attend_segment(const AttentionTask& task, const Query& query, int32_t segment, float* part) {
  std::array<float, kAttentionSegment> scores;
  const int32_t start = segment * kAttentionSegment;
  attend(task,
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

void write(const AttentionTask& task, const float* sum, float* out) {
  for (int32_t i = 0; i < task.head_dim; ++i) out[i] = sum[kPartHeader + i] / sum[1];
  if (kv_is_scaled(task.types.v)) hadamard(out, task.head_dim);
}

using Part = std::array<float, attention_part_floats(kMaxHeadDim)>;

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
        attend_segment(task, query, s, out);
      }
    };
    const int32_t first = query.begin / kAttentionSegment;
    part_of(first, sum.data());
    for (int32_t s = first + 1; s <= query.position / kAttentionSegment; ++s) {
      part_of(s, part.data());
      merge_part(task.head_dim, part.data(), sum.data());
    }
    write(task, sum.data(), query.out);
    known_offset += attention_part_floats(task.head_dim);
  });
}

void segment(const AttentionTask& task, int32_t segment, float* part) {
  for_queries(task, [&](const Query& query) {
    attend_segment(task, query, segment, part);
    part += attention_part_floats(task.head_dim);
  });
}

void merge(const AttentionTask& task, const float* parts, int32_t n_segments) {
  const int64_t size = attention_part_floats(task.head_dim);
  for_queries(task, [&](const Query& query) {
    Part sum;
    std::copy_n(parts, size, sum.data());
    for (int32_t s = 1; s < n_segments; ++s) {
      merge_part(task.head_dim, parts + s * task.n_heads * size, sum.data());
    }
    write(task, sum.data(), query.out);
    parts += size;
  });
}

void naive(const AttentionTask& task) {
  for_queries(task, [&](const Query& query) {
    Part sum;
    attend(task, query.q, query.begin, query.position, task.scratch, sum.data());
    write(task, sum.data(), query.out);
  });
}

}  // namespace

StoreKVFn ref_store_k(KVType type) {
  static constexpr std::array<StoreKVFn, kKVTypeCount> kTable = {store_k<KVType::kF32>,
                                                                 store_k<KVType::kF16>,
                                                                 store_k<KVType::kBF16>,
                                                                 store_k<KVType::kInt8>,
                                                                 store_k<KVType::kInt4>};
  return kTable[static_cast<size_t>(type)];
}

StoreKVFn ref_store_v(KVType type) {
  static constexpr std::array<StoreKVFn, kKVTypeCount> kTable = {store_v<KVType::kF32>,
                                                                 store_v<KVType::kF16>,
                                                                 store_v<KVType::kBF16>,
                                                                 store_v<KVType::kInt8>,
                                                                 store_v<KVType::kInt4>};
  return kTable[static_cast<size_t>(type)];
}

AttentionKernels ref_attention() {
  return {rows, segment, merge, naive};
}

}  // namespace farthing
