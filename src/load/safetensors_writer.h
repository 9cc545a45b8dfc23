// The header of a safetensors file that is to be written: tensors follow it one after another, in
// this order, with nothing between them. Source: as load/safetensors.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace farthing {

struct StoredSpec {
  std::string name;
  std::string_view type;       // as the header spells it: "BF16"
  std::vector<int64_t> shape;  // the last one is contiguous
  int64_t bytes = 0;
};

// A multiple of 8 bytes.
std::string safetensors_head(std::span<const StoredSpec> tensors);

}  // namespace farthing
