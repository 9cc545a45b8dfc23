// What K and V are stored as. A row here, its kernels (kernel_table.h: store_k, store_v,
// attention), nothing else: whoever holds the bytes asks how many they are.
// int8: of the head's Walsh-Hadamard transform, in blocks of hadamard_block(); a value is q *
// scale, q from -127 to 127, with one scale for a head's K, or V, at a position: the least binary16
// that is not below the largest magnitude / 127.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/block_table.h"

namespace farthing {

enum class KVType : uint8_t { kF32, kF16, kBF16, kInt8 };
inline constexpr size_t kKVTypeCount = 4;

constexpr std::string_view kv_type_name(KVType type) {
  constexpr std::array<std::string_view, kKVTypeCount> kNames = {"f32", "f16", "bf16", "int8"};
  return kNames[static_cast<size_t>(type)];
}

// The largest power of two that divides a head.
constexpr int32_t hadamard_block(int32_t head_dim) {
  return head_dim & -head_dim;
}

constexpr int64_t kv_value_bytes(KVType type) {
  constexpr std::array<int64_t, kKVTypeCount> kBytes = {4, 2, 2, 1};
  return kBytes[static_cast<size_t>(type)];
}

// Where a plane (the K, or the V, of one head in one block) has its scales, one binary16 a
// position, behind the values; types without scales end there.
constexpr int64_t kv_scales_at(KVType type, int32_t head_dim) {
  return int64_t{kKVBlockTokens} * head_dim * kv_value_bytes(type);
}
constexpr int64_t kv_plane_bytes(KVType type, int32_t head_dim) {
  const int64_t scales = type == KVType::kInt8 ? 2 * kKVBlockTokens : 0;
  return kv_scales_at(type, head_dim) + scales;
}

}  // namespace farthing
