#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/ref/ref.h"

namespace farthing {
namespace {

constexpr int32_t kMaxHeadDim = 512;

constexpr DType stored_as(KVType type) {
  return type == KVType::kF32 ? DType::kF32 : type == KVType::kF16 ? DType::kF16 : DType::kBF16;
}

template <KVType kType>
void store_kv(const float* x, int64_t n, std::byte* out) {
  format_of(stored_as(kType)).encode(x, out, n);
}

// Position p of a K or V plane, decoded to f32.
template <KVType kType>
void load_position(const AttentionTask& task, const std::byte* plane, int32_t p, float* out) {
  const int64_t row_bytes = bytes_for(stored_as(kType), task.head_dim);
  const std::byte* block = plane + task.blocks[p / kKVBlockTokens].v * task.block_stride;
  format_of(stored_as(kType)).decode(block + p % kKVBlockTokens * row_bytes, out, task.head_dim);
}

template <KVType kType>
float score(const AttentionTask& task, const float* q, int32_t p) {
  std::array<float, kMaxHeadDim> k;
  load_position<kType>(task, task.k_plane, p, k.data());
  float sum = 0;
  for (int32_t i = 0; i < task.head_dim; ++i) sum += q[i] * k[i];
  const float s = sum * task.scale;
  return task.softcap > 0 ? task.softcap * std::tanh(s / task.softcap) : s;
}

// out += weight * V[p]
template <KVType kType>
void add_value(const AttentionTask& task, int32_t p, float weight, float* out) {
  std::array<float, kMaxHeadDim> v;
  load_position<kType>(task, task.v_plane, p, v.data());
  for (int32_t i = 0; i < task.head_dim; ++i) out[i] += weight * v[i];
}

// Online softmax: after each block of absolute positions, out / total is the attention over what
// was seen.
template <KVType kType>
void attend_head(const AttentionTask& task, const float* q, float* out) {
  std::fill_n(out, task.head_dim, 0.0f);
  float highest = -std::numeric_limits<float>::infinity();
  float total = 0;
  for (int32_t b = task.begin / kKVBlockTokens; b <= task.position / kKVBlockTokens; ++b) {
    const int32_t first = std::max(task.begin, b * kKVBlockTokens);
    const int32_t last = std::min(task.position, b * kKVBlockTokens + kKVBlockTokens - 1);
    std::array<float, kKVBlockTokens> scores;
    float block_highest = highest;
    for (int32_t p = first; p <= last; ++p) {
      scores[p - first] = score<kType>(task, q, p);
      block_highest = std::max(block_highest, scores[p - first]);
    }
    const float keep = std::exp(highest - block_highest);
    highest = block_highest;
    total *= keep;
    for (int32_t i = 0; i < task.head_dim; ++i) out[i] *= keep;
    for (int32_t p = first; p <= last; ++p) {
      const float weight = std::exp(scores[p - first] - highest);
      total += weight;
      add_value<kType>(task, p, weight, out);
    }
  }
  for (int32_t i = 0; i < task.head_dim; ++i) out[i] /= total;
}

template <KVType kType>
void attention(const AttentionTask& task) {
  for (int32_t h = 0; h < task.n_heads; ++h) {
    attend_head<kType>(task, task.q + h * task.q_stride, task.out + h * task.out_stride);
  }
}

// The textbook: all scores, softmax over them, then the weighted sum of values.
template <KVType kType>
void attention_naive(const AttentionTask& task) {
  for (int32_t h = 0; h < task.n_heads; ++h) {
    const float* q = task.q + h * task.q_stride;
    float* out = task.out + h * task.out_stride;
    float highest = -std::numeric_limits<float>::infinity();
    for (int32_t p = task.begin; p <= task.position; ++p) {
      task.scratch[p] = score<kType>(task, q, p);
      highest = std::max(highest, task.scratch[p]);
    }
    float total = 0;
    for (int32_t p = task.begin; p <= task.position; ++p) {
      task.scratch[p] = std::exp(task.scratch[p] - highest);
      total += task.scratch[p];
    }
    std::fill_n(out, task.head_dim, 0.0f);
    for (int32_t p = task.begin; p <= task.position; ++p) {
      add_value<kType>(task, p, task.scratch[p] / total, out);
    }
  }
}

}  // namespace

StoreKVFn ref_store_kv(KVType type) {
  static constexpr std::array<StoreKVFn, kKVTypeCount> kTable = {
      store_kv<KVType::kF32>, store_kv<KVType::kF16>, store_kv<KVType::kBF16>};
  return kTable[static_cast<size_t>(type)];
}

AttentionFn ref_attention(KVType type) {
  static constexpr std::array<AttentionFn, kKVTypeCount> kTable = {
      attention<KVType::kF32>, attention<KVType::kF16>, attention<KVType::kBF16>};
  return kTable[static_cast<size_t>(type)];
}

AttentionFn ref_attention_naive(KVType type) {
  static constexpr std::array<AttentionFn, kKVTypeCount> kTable = {
      attention_naive<KVType::kF32>, attention_naive<KVType::kF16>, attention_naive<KVType::kBF16>};
  return kTable[static_cast<size_t>(type)];
}

}  // namespace farthing
