// Reads one safetensors image: 8 bytes with the length of a JSON header, the header (name -> type,
// shape, range of bytes), then the bytes of all tensors. Source: the format's description
// (huggingface/safetensors, README and docs/source). Does not know: what names mean, which types we
// compute with, shards. Invariant of an accepted image: names are unique; ranges lie inside the
// image, in no two of them the same byte, and together are all of it; a range is as long as shape
// and type say. Tensors point into the image, which must outlive them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "load/limits.h"

namespace farthing {

inline constexpr uint64_t kMaxStoredHeader = uint64_t{16} << 20;  // bytes
inline constexpr uint64_t kMaxStoredName = 512;
inline constexpr size_t kMaxStoredDims = 8;

// A type of the format.
struct StoredType {
  std::string_view name;  // as the header spells it: "BF16"
  int32_t bits = 0;       // of a value
};

struct StoredTensor {
  std::string name;
  const StoredType* type = nullptr;
  std::array<int64_t, kMaxStoredDims> shape{};  // as written: the last one is contiguous
  size_t n_dims = 0;
  std::span<const std::byte> bytes;

  bool is(std::string_view type_name) const { return type->name == type_name; }
  int64_t size() const;  // values
  std::string describe() const;  // "BF16 [576, 1536]"
};

// In the order of their bytes. What it allocates is taken from `allowance`.
Result<std::vector<StoredTensor>> parse_safetensors(std::span<const std::byte> image,
                                                    Allowance& allowance);

}  // namespace farthing
