// TensorView: a validated tensor inside a mapped file or a buffer. Does not own its bytes.
// Invariant (made by load/): bytes.size() == bytes_for(type, product of dims); every row is whole quant blocks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "quant/format.h"

namespace farthing {

struct TensorView {
  std::string name;
  DType type = DType::kF32;
  // GGUF order: dims[0] is the contiguous one (the columns of a row), dims[1] the number of rows. Unused are 1.
  std::array<int64_t, 4> dims = {1, 1, 1, 1};
  int n_dims = 0;
  std::span<const std::byte> bytes;

  int64_t cols() const { return dims[0]; }
  int64_t rows() const { return dims[1] * dims[2] * dims[3]; }
  int64_t size() const { return cols() * rows(); }
  int64_t row_bytes() const { return bytes_for(type, cols()); }
  const std::byte* row(int64_t r) const { return bytes.data() + r * row_bytes(); }
};

}  // namespace farthing
