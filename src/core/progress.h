// Whether an engine gets on with its work: what a health check may ask from any thread.
#pragma once

#include <algorithm>
#include <optional>

#include "base/clock.h"

namespace farthing {

struct Progress {
  bool working = false;                // some request has not ended yet
  std::optional<TimePoint> last_step;  // when the last step ended
  TimePoint work_came{};               // when the engine last got work while it had none

  // How long work has waited without a step ending; 0 if there is none to do.
  double silent_seconds(TimePoint now) const {
    if (!working) return 0;
    const TimePoint heard = last_step ? std::max(*last_step, work_came) : work_came;
    return std::max(0.0, seconds_between(heard, now));
  }
};

}  // namespace farthing
