// What K and V are stored as. A row here, its kernels (kernel_table.h: store_k, store_v,
// attention), nothing else: whoever holds the bytes asks how many they are.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/block_table.h"

namespace farthing {

enum class KVType : uint8_t { kF32, kF16, kBF16 };
inline constexpr size_t kKVTypeCount = 3;

constexpr std::string_view kv_type_name(KVType type) {
  constexpr std::array<std::string_view, kKVTypeCount> kNames = {"f32", "f16", "bf16"};
  return kNames[static_cast<size_t>(type)];
}

// Bytes of a plane: the K, or the V, of one head in one block.
constexpr int64_t kv_plane_bytes(KVType type, int32_t head_dim) {
  const int64_t value_bytes = type == KVType::kF32 ? 4 : 2;
  return int64_t{kKVBlockTokens} * head_dim * value_bytes;
}

}  // namespace farthing
