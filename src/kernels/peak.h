// What a core of this machine can do at most: loops with nothing in them but the instructions that
// the kernels live on. Their times are the roofs that `doctor` prints and benchmarks are held
// against.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/isa.h"

namespace farthing {

struct PeakKernels {
  // Each does `rounds` rounds and returns the operations done: a multiplication and an addition are
  // two.
  int64_t (*int8_dot)(int64_t rounds);
  int64_t (*f32_fma)(int64_t rounds);
  // Reads `bytes` (a multiple of 256) from `data`, prefetching `ahead` bytes ahead; returns a
  // checksum.
  uint64_t (*read)(const std::byte* data, int64_t bytes, int64_t ahead);
};

const PeakKernels& peak_kernels(Isa isa);
const PeakKernels& ref_peak_kernels();

}  // namespace farthing
