#include "kernels/peak.h"

#include <array>
#include <cstring>

namespace farthing {
namespace {

constexpr int64_t kChains = 16;
constexpr int64_t kUnit = 4096;  // steps per round

template <class T, class Step>
int64_t run_chains(int64_t rounds, Step step) {
  std::array<T, kChains> chain;
  chain.fill(T{1});
  for (int64_t r = 0; r < rounds * kUnit; ++r) {
    for (T& c : chain) c = step(c);
    __asm__ volatile("" : : "r"(chain.data()) : "memory");
  }
  return rounds * kUnit * kChains * 2;
}

int64_t int8_dot(int64_t rounds) {
  return run_chains<int32_t>(rounds, [](int32_t c) { return c + static_cast<int8_t>(c) * 3; });
}

int64_t f32_fma(int64_t rounds) {
  return run_chains<float>(rounds, [](float c) { return c * 0.5f + 0.5f; });
}

uint64_t read(const std::byte* data, int64_t bytes, int64_t) {
  std::array<uint64_t, 8> sum{};
  for (int64_t i = 0; i + 64 <= bytes; i += 64) {
    std::array<uint64_t, 8> line;
    std::memcpy(line.data(), data + i, 64);
    for (size_t j = 0; j < 8; ++j) sum[j] += line[j];
  }
  uint64_t total = 0;
  for (uint64_t s : sum) total += s;
  return total;
}

}  // namespace

const PeakKernels& ref_peak_kernels() {
  static constexpr PeakKernels kernels = {int8_dot, f32_fma, read};
  return kernels;
}

}  // namespace farthing
