// Time comes in as a value: only the outermost loops read the clock.
#pragma once

#include <chrono>

namespace farthing {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;

inline double seconds_between(TimePoint from, TimePoint to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace farthing
