// What this process may use of the machine: cores, quota, memory. Read once at start, printed by `doctor`.
// `root` is put in front of /proc and /sys (tests keep a small copy of such trees); what can't be read counts as
// not limited.
#pragma once

#include <cstdint>
#include <string>

namespace farthing {

struct CpuBudget {
  int32_t affinity = 1;         // CPUs this process may run on (sched_getaffinity; a cpuset shows here)
  int32_t physical_cores = 1;   // distinct cores among those
  double quota = 0;             // CPUs per second by cgroup cpu.max (v1: cpu.cfs_quota_us); 0: none
  int32_t threads = 1;          // max(1, min(affinity, physical cores, quota rounded down))
  std::string model_name;       // "Intel(R) Xeon(R) Processor"
};

CpuBudget cpu_budget(const std::string& root = "");

// Every one of so many threads has a CPU of its own all the time: only then may it spin while it waits.
bool has_cpus_for(const CpuBudget& cpu, int32_t n_threads);

struct MemoryBudget {
  int64_t total = 0;            // bytes of the machine
  int64_t cgroup_limit = 0;     // 0: none
  int64_t available = 0;        // min(MemAvailable, cgroup limit - in use); file cache counts as free
};

MemoryBudget memory_budget(const std::string& root = "");

// Of the files of the program and its libraries, as far as they are mapped: what running the
// program can take of memory before it has any data.
int64_t program_bytes();
int64_t resident_bytes();       // of this process now
int64_t peak_resident_bytes();  // of this process so far

}  // namespace farthing
