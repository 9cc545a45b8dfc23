// TensorView: a validated tensor inside a mapped file or a buffer. Does not own its bytes.
// Invariant (made by load/): every row is whole quant blocks. bytes.size() == bytes_for(type,
// product of dims), unless rows are made: then `bytes` is what they are made of, in the file's own
// order and packing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/check.h"
#include "quant/format.h"

namespace farthing {

// Makes rows [first, first + n), each bytes_for(type, cols) bytes, one after the other, to `out`.
// Called by many threads at once.
using MakeRows = std::function<void(int64_t first, int64_t n, std::byte* out)>;

struct TensorView {
  std::string name;
  DType type = DType::kF32;
  // GGUF order: dims[0] is the contiguous one (the columns of a row), dims[1] the number of rows. Unused are 1.
  std::array<int64_t, 4> dims = {1, 1, 1, 1};
  int n_dims = 0;
  std::span<const std::byte> bytes;
  MakeRows make_rows;  // for rows that don't lie in the file as they are used; else empty

  int64_t cols() const { return dims[0]; }
  int64_t rows() const { return dims[1] * dims[2] * dims[3]; }
  int64_t size() const { return cols() * rows(); }
  int64_t row_bytes() const { return bytes_for(type, cols()); }
  int64_t size_bytes() const { return row_bytes() * rows(); }  // of all rows, made or not

  // A row where it lies.
  const std::byte* row(int64_t r) const {
    CHECK(!make_rows);
    return bytes.data() + r * row_bytes();
  }
  // Rows [first, first + n): where they lie, or made in `scratch`.
  const std::byte* rows_at(int64_t first, int64_t n, std::vector<std::byte>& scratch) const {
    if (!make_rows) return row(first);
    scratch.resize(static_cast<size_t>(n * row_bytes()));
    make_rows(first, n, scratch.data());
    return scratch.data();
  }
};

}  // namespace farthing
