// What this machine can do at most with the kernels of one Isa: the roofs of the roofline, measured
// in about two seconds. Does not know: models. The figures move with the neighbours on a shared
// machine: measure them beside whatever they are compared with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/buffer.h"
#include "base/json.h"
#include "base/result.h"
#include "base/thread_team.h"
#include "kernels/isa.h"
#include "kernels/peak.h"

namespace farthing {

struct MachineSpeed {
  struct Rates {
    int32_t threads = 1;
    double read_gb_per_s = 0;  // 1e9 bytes, from memory
    double int8_gops = 0;      // 1e9 operations; a multiplication and an addition are two
    double f32_gflops = 0;
  };
  Rates one;
  Rates all;
  int64_t read_bytes = 0;  // how much memory was read at a time
};

// kNoResource if there is no memory to read.
Result<MachineSpeed> measure_machine(Isa isa, int32_t threads);

// The same rates of `threads` threads as often as it is asked, in about a third of a second; means,
// not bests: on a machine with neighbours a test is held against what such loops went on doing
// beside it.
class MachineGauge {
 public:
  static Result<MachineGauge> create(Isa isa, int32_t threads);  // as measure_machine
  MachineSpeed::Rates measure();

 private:
  MachineGauge() = default;
  const PeakKernels* peak_ = nullptr;
  std::unique_ptr<ThreadTeam> team_;
  Buffer memory_;
};

// The same rates of `threads` threads at a glance, in about a twentieth of a second: good for words
// like "most of", not for comparisons. What is read is `memory`, which somebody else has filled, a
// model's weights: the first 128 MiB of it. f32_gflops stays 0.
MachineSpeed::Rates glance_at_machine(Isa isa, int32_t threads, std::span<const std::byte> memory);

// f32_gflops of so many threads alone, in about a twentieth of a second.
double f32_gflops(Isa isa, int32_t threads);

// {"read_test_bytes", "one_thread": {...}, "all_threads": {...}}
Json speed_json(const MachineSpeed& speed);

// {"machine": {...}, "kernels": {...}}: what was found, what was measured, which kernels serve
// which format.
Json machine_report(Isa isa, const MachineSpeed& speed);

}  // namespace farthing
