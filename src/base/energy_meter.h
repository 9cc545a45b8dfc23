// The energy that processors and memory have used, by the counters of the processors themselves
// (Linux powercap, RAPL). Owns: what was read. Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace farthing {

class EnergyMeter {
 public:
  // Null if nothing can be read: most virtual machines have no counters, and since Linux 5.10 only
  // root reads them. `root`: as in base/cpu.h.
  static std::unique_ptr<EnergyMeter> open(const std::string& root = "");

  // Since open(). Counters begin again after a range of their own (an hour or so of a busy
  // machine): between two calls that may have happened once.
  double joules();

 private:
  struct Zone {
    std::string folder;
    int64_t range = 0;  // microjoules
    int64_t last = 0;
  };

  std::mutex mutex_;
  std::vector<Zone> zones_;
  double joules_ = 0;
};

}  // namespace farthing
