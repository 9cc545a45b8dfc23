// Amounts that carry their unit, checked when the program is compiled. A price per thousand tokens
// can't be used as a price per token, nor seconds as hours, nor output tokens as input tokens:
// numbers come in and go out through functions and literals that name the unit, prices only by
// dividing. src/econ/units_compile_test.py holds the compiler to it. The same dimensions serve
// figures read from text (econ/unit_text.h).
#pragma once

#include <compare>

namespace farthing {

// Powers of the base units. Tokens of stated kinds are units of their own: they add up only
// through all_tokens().
struct Dim {
  int money = 0, time = 0, energy = 0;
  int tokens = 0;  // of every kind together
  int input = 0, cached = 0, output = 0;
  int requests = 0;  // questions, calls, tasks: what is answered
  int people = 0;    // users, or those who work

  friend constexpr bool operator==(const Dim&, const Dim&) = default;
  friend constexpr Dim operator+(Dim a, Dim b) { return combine(a, b, 1); }
  friend constexpr Dim operator-(Dim a, Dim b) { return combine(a, b, -1); }

 private:
  static constexpr Dim combine(Dim a, Dim b, int sign) {
    return {a.money + sign * b.money,
            a.time + sign * b.time,
            a.energy + sign * b.energy,
            a.tokens + sign * b.tokens,
            a.input + sign * b.input,
            a.cached + sign * b.cached,
            a.output + sign * b.output,
            a.requests + sign * b.requests,
            a.people + sign * b.people};
  }
};

// What may be made of a bare number, because its name is its unit: Seconds{3}, Watts{100}. Rates
// and prices may not.
constexpr bool named_by_its_type(Dim d) {
  const int powers[] = {
      d.money, d.time, d.energy, d.tokens, d.input, d.cached, d.output, d.requests, d.people};
  int ones = 0;
  for (const int power : powers) {
    if (power < 0 || power > 1) return d == Dim{.time = -1, .energy = 1};
    ones += power;
  }
  return ones == 1;
}

template <Dim D>
struct Quantity {
  static constexpr Dim kDim = D;
  double value = 0;  // in the base units: the currency's unit, seconds, joules, tokens, ...

  constexpr Quantity() = default;
  explicit constexpr Quantity(double amount)
    requires(named_by_its_type(D))
      : value(amount) {}
  // Of a number in base units that something has checked already: arithmetic, a parsed unit.
  static constexpr Quantity of_base_units(double amount) {
    Quantity q;
    q.value = amount;
    return q;
  }

  friend constexpr auto operator<=>(Quantity, Quantity) = default;
  friend constexpr Quantity operator+(Quantity a, Quantity b) {
    return of_base_units(a.value + b.value);
  }
  friend constexpr Quantity operator-(Quantity a, Quantity b) {
    return of_base_units(a.value - b.value);
  }
  friend constexpr Quantity operator*(Quantity a, double factor) {
    return of_base_units(a.value * factor);
  }
  friend constexpr Quantity operator*(double factor, Quantity a) {
    return of_base_units(a.value * factor);
  }
  friend constexpr Quantity operator/(Quantity a, double divisor) {
    return of_base_units(a.value / divisor);
  }
  constexpr Quantity& operator+=(Quantity other) {
    value += other.value;
    return *this;
  }
};

// The ratio of two amounts of one kind is a number.
template <Dim A, Dim B>
constexpr auto operator*(Quantity<A> a, Quantity<B> b) {
  if constexpr (A + B == Dim{}) {
    return a.value * b.value;
  } else {
    return Quantity<A + B>::of_base_units(a.value * b.value);
  }
}
template <Dim A, Dim B>
constexpr auto operator/(Quantity<A> a, Quantity<B> b) {
  if constexpr (A == B) {
    return a.value / b.value;
  } else {
    return Quantity<A - B>::of_base_units(a.value / b.value);
  }
}

using Money = Quantity<Dim{.money = 1}>;
using Seconds = Quantity<Dim{.time = 1}>;
using Joules = Quantity<Dim{.energy = 1}>;
using Watts = Quantity<Dim{.time = -1, .energy = 1}>;
using Tokens = Quantity<Dim{.tokens = 1}>;
using InputTokens = Quantity<Dim{.input = 1}>;
using CachedTokens = Quantity<Dim{.cached = 1}>;  // input that is stored already
using OutputTokens = Quantity<Dim{.output = 1}>;
using Requests = Quantity<Dim{.requests = 1}>;
using People = Quantity<Dim{.people = 1}>;

using MoneyRate = decltype(Money{} / Seconds{});
using EnergyPrice = decltype(Money{} / Joules{});
using TokenPrice = decltype(Money{} / Tokens{});
using InputPrice = decltype(Money{} / InputTokens{});
using CachedPrice = decltype(Money{} / CachedTokens{});
using OutputPrice = decltype(Money{} / OutputTokens{});
using RequestPrice = decltype(Money{} / Requests{});
using RequestRate = decltype(Requests{} / Seconds{});
using PrefillRate = decltype(InputTokens{} / Seconds{});
using DecodeRate = decltype(OutputTokens{} / Seconds{});
using PerYear = Quantity<Dim{.time = -1}>;

// Tokens of all kinds together: one token each, whatever it cost.
constexpr Tokens all_tokens(InputTokens input, CachedTokens cached, OutputTokens output) {
  return Tokens{input.value + cached.value + output.value};
}

constexpr Seconds hours(double n) {
  return Seconds{n * 3600};
}
constexpr Seconds days(double n) {
  return hours(n * 24);
}
constexpr Seconds years(double n) {  // of 365 days
  return days(n * 365);
}
constexpr Seconds months(double n) {  // twelve make a year
  return years(n / 12);
}
constexpr Joules kilowatt_hours(double n) {
  return Joules{n * 3.6e6};
}
constexpr MoneyRate per_hour(Money amount) {
  return amount / hours(1);
}
constexpr MoneyRate per_year(Money amount) {
  return amount / years(1);
}
constexpr double in_hours(Seconds time) {
  return time / hours(1);
}
constexpr double in_months(Seconds time) {
  return time / months(1);
}
constexpr double in_years(Seconds time) {
  return time / years(1);
}

// Prices of tokens come in and go out with how many of them they are for.
template <Dim D>
  requires(D.money == 1 && D.tokens + D.input + D.cached + D.output == -1)
constexpr Money per_million(Quantity<D> price) {
  return Money{price.value * 1e6};
}
constexpr TokenPrice per_token(Money amount) {
  return amount / Tokens{1};
}
constexpr TokenPrice per_thousand_tokens(Money amount) {
  return amount / Tokens{1e3};
}
constexpr TokenPrice per_million_tokens(Money amount) {
  return amount / Tokens{1e6};
}
constexpr InputPrice per_million_input_tokens(Money amount) {
  return amount / InputTokens{1e6};
}
constexpr CachedPrice per_million_cached_tokens(Money amount) {
  return amount / CachedTokens{1e6};
}
constexpr OutputPrice per_million_output_tokens(Money amount) {
  return amount / OutputTokens{1e6};
}

// 0.002_usd_per_ktok and 2_usd_per_Mtok are the same price; 0.002_usd_per_tok is a thousand times
// that.
inline namespace unit_literals {
constexpr Money operator""_usd(long double n) {
  return Money{static_cast<double>(n)};
}
constexpr Money operator""_usd(unsigned long long n) {
  return Money{static_cast<double>(n)};
}
constexpr TokenPrice operator""_usd_per_tok(long double n) {
  return per_token(Money{static_cast<double>(n)});
}
constexpr TokenPrice operator""_usd_per_ktok(long double n) {
  return per_thousand_tokens(Money{static_cast<double>(n)});
}
constexpr TokenPrice operator""_usd_per_Mtok(long double n) {
  return per_million_tokens(Money{static_cast<double>(n)});
}
constexpr TokenPrice operator""_usd_per_Mtok(unsigned long long n) {
  return per_million_tokens(Money{static_cast<double>(n)});
}
}  // namespace unit_literals

}  // namespace farthing
