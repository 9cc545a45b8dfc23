#include "micro/roofs.h"

#include <map>

#include "base/check.h"
#include "measure/machine.h"

namespace farthing::micro {
namespace {

// Measured when the first benchmark of an Isa ends: one that isn't asked for costs nothing.
const MachineSpeed::Rates& roofs_of(Isa isa) {
  static std::map<Isa, MachineSpeed::Rates> known;
  auto [entry, added] = known.try_emplace(isa);
  if (added) {
    const auto speed = measure_machine(isa, 1);
    CHECK(speed);
    entry->second = speed->one;
  }
  return entry->second;
}

}  // namespace

void report(benchmark::State& state,
            Isa isa,
            const Work& work,
            Peak peak,
            bool from_memory,
            double seconds) {
  const MachineSpeed::Rates& roofs = roofs_of(isa);
  const double giga = static_cast<double>(state.iterations()) / seconds * 1e-9;
  const bool int8 = peak == Peak::kInt8;
  state.counters["GB/s"] = work.bytes * giga;
  state.counters["GOP/s"] = work.operations * giga;
  state.counters[int8 ? "of_int8" : "of_f32"] =
      work.operations * giga / (int8 ? roofs.int8_gops : roofs.f32_gflops);
  if (from_memory) state.counters["of_read"] = work.bytes * giga / roofs.read_gb_per_s;
}

std::vector<float> random_floats(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  return x;
}

}  // namespace farthing::micro
