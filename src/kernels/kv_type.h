// What K and V are stored as, each on its own. A type is a row here, its kernels for K and for V
// (kernel_table.h: store_k, store_v, attention), nothing else: whoever holds the bytes asks how
// many they are.
//
// int8 and int4 hold the head's Walsh-Hadamard transform, in blocks of hadamard_block(), with a
// binary16 scale for kv_scale_channels() channels of a position, of nobody else's values. A value
// is q * scale: int8: q from -127 to 127, the scale the least that is not below the largest
// magnitude / 127; int4: q from -8 to 7, the scale the one farthest from 0, divided by -8.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/block_table.h"

// What kernels call is always inlined: no symbol of it may be in an object compiled for one Isa.
namespace farthing {

enum class KVType : uint8_t { kF32, kF16, kBF16, kInt8, kInt4 };
inline constexpr size_t kKVTypeCount = 5;
inline constexpr std::array<KVType, kKVTypeCount> kKVTypes = {
    KVType::kF32, KVType::kF16, KVType::kBF16, KVType::kInt8, KVType::kInt4};

constexpr std::string_view kv_type_name(KVType type) {
  constexpr std::array<std::string_view, kKVTypeCount> kNames = {
      "f32", "f16", "bf16", "int8", "int4"};
  return kNames[static_cast<size_t>(type)];
}

constexpr std::optional<KVType> kv_type_from_name(std::string_view name) {
  for (const KVType type : kKVTypes) {
    if (kv_type_name(type) == name) return type;
  }
  return std::nullopt;
}

// The types of K and of V.
struct KVTypes {
  constexpr KVTypes() = default;
  constexpr KVTypes(KVType both) : k(both), v(both) {}
  constexpr KVTypes(KVType k_type, KVType v_type) : k(k_type), v(v_type) {}
  friend constexpr auto operator<=>(KVTypes, KVTypes) = default;

  KVType k = KVType::kF16;
  KVType v = KVType::kF16;
};

// "int8", or "int8,int4" if they differ.
inline std::string kv_types_name(KVTypes types) {
  std::string name(kv_type_name(types.k));
  if (types.v != types.k) name.append(",").append(kv_type_name(types.v));
  return name;
}

// The largest power of two that divides a head.
[[gnu::always_inline]] constexpr int32_t hadamard_block(int32_t head_dim) {
  return head_dim & -head_dim;
}

// Whether it is stored transformed and with scales.
[[gnu::always_inline]] constexpr bool kv_is_scaled(KVType type) {
  return type == KVType::kInt8 || type == KVType::kInt4;
}
// How many channels of a head share a scale; the last ones may be fewer.
[[gnu::always_inline]] constexpr int32_t kv_scale_channels(KVType type) {
  return type == KVType::kInt4 ? 32 : 64;
}
[[gnu::always_inline]] constexpr int32_t kv_scale_groups(KVType type, int32_t head_dim) {
  const int32_t channels = kv_scale_channels(type);
  return kv_is_scaled(type) ? (head_dim + channels - 1) / channels : 0;
}

// A plane: the K, or the V, of one head in one block. Rows of values, then scales,
// [group of channels][position].
struct KVPlane {
  int64_t row_bytes;
  int64_t scales_at;  // bytes from the plane's start
  int64_t bytes;
};

// Of K a row is one channel of all positions; with int4 two, 2r in the lower half of a byte and
// 2r + 1 in the upper.
[[gnu::always_inline]] constexpr int32_t kv_k_row_channels(KVType type) {
  return type == KVType::kInt4 ? 2 : 1;
}
// Of V a row is a position. With int4 it is of pieces of 32 channels, in 16 bytes: channel i < 16
// of a piece in the lower half of byte i, channel 16 + i in the upper. What no channel has is 0.
inline constexpr int32_t kInt4Piece = 32;

// With int4 a byte holds two values.
[[gnu::always_inline]] constexpr int64_t kv_value_bytes(KVType type) {
  constexpr std::array<int64_t, kKVTypeCount> kBytes = {4, 2, 2, 1, 1};
  return kBytes[static_cast<size_t>(type)];
}
[[gnu::always_inline]] constexpr KVPlane kv_plane(KVType type,
                                                  int32_t head_dim,
                                                  int64_t rows,
                                                  int64_t row_bytes) {
  const int64_t scales = int64_t{2} * kKVBlockTokens * kv_scale_groups(type, head_dim);
  return {row_bytes, rows * row_bytes, rows * row_bytes + scales};
}
[[gnu::always_inline]] constexpr KVPlane kv_k_plane(KVType type, int32_t head_dim) {
  const int32_t channels = kv_k_row_channels(type);
  return kv_plane(
      type, head_dim, (head_dim + channels - 1) / channels, kKVBlockTokens * kv_value_bytes(type));
}
[[gnu::always_inline]] constexpr KVPlane kv_v_plane(KVType type, int32_t head_dim) {
  const int64_t row_bytes = type == KVType::kInt4
                                ? (head_dim + kInt4Piece - 1) / kInt4Piece * (kInt4Piece / 2)
                                : head_dim * kv_value_bytes(type);
  return kv_plane(type, head_dim, kKVBlockTokens, row_bytes);
}

}  // namespace farthing
