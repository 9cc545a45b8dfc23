// What every micro-benchmark reports: GB/s, GOP/s and the fraction of what one thread of this
// machine can do, measured in the same process. Names: KERNEL/ISA/what...
#pragma once

#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "base/clock.h"
#include "kernels/isa.h"

namespace farthing::micro {

enum class Peak { kInt8, kF32 };

// What one iteration reads (or touches) and computes. An exp or a tanh is one operation.
struct Work {
  double bytes = 0;
  double operations = 0;
};

// The loop of a benchmark and its counters, by the clock on the wall as the roofs are.
// `from_memory`: its data is larger than the caches, so that the read bandwidth of the memory is a
// roof.
void report(benchmark::State& state,
            Isa isa,
            const Work& work,
            Peak peak,
            bool from_memory,
            double seconds);
template <class Body>
void measure(
    benchmark::State& state, Isa isa, const Work& work, Peak peak, bool from_memory, Body&& body) {
  const TimePoint start = Clock::now();
  for (auto _ : state) {
    body();
    benchmark::ClobberMemory();
  }
  report(state, isa, work, peak, from_memory, seconds_between(start, Clock::now()));
}

std::vector<float> random_floats(size_t n, uint32_t seed);

// Bytes that no cache holds: last-level ones of servers reach 300 MB and more.
inline constexpr int64_t kBeyondCaches = int64_t{768} << 20;

// One function per file.
void register_rows(Isa isa);
void register_matmul(Isa isa);
void register_attention(Isa isa);
void register_load();  // of the models that FARTHING_BENCH_MODELS names

}  // namespace farthing::micro
