// Checked arithmetic for sizes that come from a file or a request: a wrap is nullopt, never a small
// number.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>

namespace farthing {

template <std::unsigned_integral T>
std::optional<T> checked_add(T a, T b) {
  T out;
  if (__builtin_add_overflow(a, b, &out)) return std::nullopt;
  return out;
}

template <std::unsigned_integral T>
std::optional<T> checked_mul(T a, T b) {
  T out;
  if (__builtin_mul_overflow(a, b, &out)) return std::nullopt;
  return out;
}

// a rounded up to a multiple of `unit` (a power of two).
template <std::unsigned_integral T>
std::optional<T> checked_align(T a, T unit) {
  auto sum = checked_add<T>(a, unit - 1);
  if (!sum) return std::nullopt;
  return *sum & ~(unit - 1);
}

constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
constexpr int64_t round_up(int64_t a, int64_t unit) {
  return ceil_div(a, unit) * unit;
}

}  // namespace farthing
