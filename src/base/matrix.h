// Matrix<T>: a view of rows x cols values, rows `stride` values apart. Does not own its memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace farthing {

template <class T>
struct Matrix {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;  // in values, >= cols

  Matrix() = default;
  Matrix(T* data_in, int64_t rows_in, int64_t cols_in)
      : data(data_in), rows(rows_in), cols(cols_in), stride(cols_in) {}
  Matrix(T* data_in, int64_t rows_in, int64_t cols_in, int64_t stride_in)
      : data(data_in), rows(rows_in), cols(cols_in), stride(stride_in) {}
  operator Matrix<const T>() const
    requires(!std::is_const_v<T>)
  {
    return {data, rows, cols, stride};
  }

  T* row(int64_t r) const { return data + r * stride; }
  std::span<T> operator[](int64_t r) const { return {row(r), static_cast<size_t>(cols)}; }
  // Rows [first, first + count).
  Matrix slice(int64_t first, int64_t count) const { return {row(first), count, cols, stride}; }
};

}  // namespace farthing
