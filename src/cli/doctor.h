// farthing doctor: what this machine has, what its cores and memory can do at most, and which
// kernels serve which weight format. For people, or with --json as {"machine": {...}, "kernels":
// {...}}. Takes about two seconds.
#pragma once

#include <cstdio>
#include <string>

#include "base/result.h"

namespace farthing {

struct DoctorOptions {
  std::string isa;      // empty: the best one
  int32_t threads = 0;  // 0: as many as this process may use
  bool json = false;
};

// kUsage if the Isa has no such name, kNoResource if this CPU lacks it.
Status examine_machine(const DoctorOptions& options, std::FILE* out);

}  // namespace farthing
