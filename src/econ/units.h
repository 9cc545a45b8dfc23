// Amounts that carry their unit: money, time, tokens and energy to whole powers. A price per token
// can't be used as a price per thousand tokens, nor seconds as hours: numbers come in and go out
// through functions that name the unit.
#pragma once

#include <compare>

namespace farthing {

template <int MoneyPower, int TimePower, int TokenPower, int EnergyPower>
struct Quantity {
  double value = 0;  // in the base units: the currency's unit, seconds, tokens, joules

  friend auto operator<=>(Quantity, Quantity) = default;
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return {a.value + b.value}; }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return {a.value - b.value}; }
  friend constexpr Quantity operator*(Quantity a, double factor) { return {a.value * factor}; }
  friend constexpr Quantity operator*(double factor, Quantity a) { return {a.value * factor}; }
  friend constexpr Quantity operator/(Quantity a, double divisor) { return {a.value / divisor}; }
  constexpr Quantity& operator+=(Quantity other) {
    value += other.value;
    return *this;
  }
};

template <int M, int T, int K, int E, int M2, int T2, int K2, int E2>
constexpr auto operator*(Quantity<M, T, K, E> a, Quantity<M2, T2, K2, E2> b) {
  return Quantity<M + M2, T + T2, K + K2, E + E2>{a.value * b.value};
}
template <int M, int T, int K, int E, int M2, int T2, int K2, int E2>
constexpr auto operator/(Quantity<M, T, K, E> a, Quantity<M2, T2, K2, E2> b) {
  return Quantity<M - M2, T - T2, K - K2, E - E2>{a.value / b.value};
}
// The ratio of two amounts of one kind is a number.
template <int M, int T, int K, int E>
constexpr double operator/(Quantity<M, T, K, E> a, Quantity<M, T, K, E> b) {
  return a.value / b.value;
}

using Money = Quantity<1, 0, 0, 0>;
using Seconds = Quantity<0, 1, 0, 0>;
using Tokens = Quantity<0, 0, 1, 0>;
using Joules = Quantity<0, 0, 0, 1>;
using Watts = Quantity<0, -1, 0, 1>;
using MoneyRate = Quantity<1, -1, 0, 0>;
using TokenPrice = Quantity<1, 0, -1, 0>;
using EnergyPrice = Quantity<1, 0, 0, -1>;

constexpr Seconds hours(double n) {
  return {n * 3600};
}
constexpr Seconds years(double n) {  // of 365 days
  return {n * 365 * 24 * 3600};
}
constexpr Joules kilowatt_hours(double n) {
  return {n * 3.6e6};
}
constexpr MoneyRate per_hour(Money amount) {
  return amount / hours(1);
}
constexpr double in_hours(Seconds time) {
  return time / hours(1);
}
constexpr Money per_million(TokenPrice price) {
  return price * Tokens{1e6};
}

}  // namespace farthing
