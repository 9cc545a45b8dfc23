// exp and tanh of a vector, by a polynomial after reduction by powers of two (Cody and Waite); a
// NaN stays a NaN.
#pragma once

namespace farthing {
namespace {

// Relative error below 3e-7 on [-87.3, 88.3], to which x is clamped: no result is zero, subnormal
// or infinite.
template <class V>
FARTHING_SIMD typename V::F exp(typename V::F x) {
  using F = typename V::F;
  x = V::min(V::set1_f(88.3f), V::max(V::set1_f(-87.3f), x));
  const F n = V::round(V::mul(x, V::set1_f(1.44269504088896341f)));
  F r = V::fma(n, V::set1_f(-0.693359375f), x);  // ln 2 in two parts; n times the first is exact
  r = V::fma(n, V::set1_f(2.12194440e-4f), r);
  // Taylor coefficients: |r| <= 0.347, so the first term left out is below 1.3e-7 / 8.
  F p = V::set1_f(1.0f / 5040);
  p = V::fma(p, r, V::set1_f(1.0f / 720));
  p = V::fma(p, r, V::set1_f(1.0f / 120));
  p = V::fma(p, r, V::set1_f(1.0f / 24));
  p = V::fma(p, r, V::set1_f(1.0f / 6));
  p = V::fma(p, r, V::set1_f(0.5f));
  p = V::fma(p, r, V::set1_f(1.0f));
  p = V::fma(p, r, V::set1_f(1.0f));
  const auto power = V::template shl<23>(V::add(V::round_to_int(n), V::set1(127)));  // 2^n
  return V::mul(p, V::as_float(power));
}

// 2^x for x <= 0, relative error below 2e-7, 1 at 0. Below -100 it stays at 2^-100: next to a
// weight of 1 that is nothing, and its products with values of F16 are not subnormal, which would
// be slow.
template <class V>
FARTHING_SIMD typename V::F exp2_weight(typename V::F x) {
  using F = typename V::F;
  x = V::max(V::set1_f(-100.0f), x);
  const F n = V::round(x);
  const F r = V::sub(x, n);
  // Least relative error on [-1/2, 1/2] with p(0) = 1, by iterated weights (Lawson's algorithm).
  F p = V::set1_f(0x1.5bba14p-10f);
  p = V::fma(p, r, V::set1_f(0x1.3cea88p-7f));
  p = V::fma(p, r, V::set1_f(0x1.c6b752p-5f));
  p = V::fma(p, r, V::set1_f(0x1.ebf9bcp-3f));
  p = V::fma(p, r, V::set1_f(0x1.62e42ap-1f));
  p = V::fma(p, r, V::set1_f(1.0f));
  return V::times_power(p, n);
}

// Absolute error below 2e-7.
template <class V>
FARTHING_SIMD typename V::F tanh(typename V::F x) {
  const auto one = V::set1_f(1.0f);
  const auto e = exp<V>(V::add(x, x));
  return V::sub(one, V::div(V::set1_f(2.0f), V::add(e, one)));
}

}  // namespace
}  // namespace farthing
