// One request of one sample run to its end on an engine, from the thread that shows the text.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/interrupts.h"
#include "core/event.h"
#include "core/request.h"
#include "engine/engine.h"

namespace farthing {

struct Answer {
  std::string text;
  FinishReason reason = FinishReason::kStop;  // kCancelled: Ctrl-C
  Usage usage;
  Timings timings;
};

// Calls `show` with each piece of text as it comes; if it fails, the request is cancelled and its
// error returned. The first Ctrl-C ends the request within one step; the second one leaves the
// program at once.
Result<Answer> generate(Engine& engine,
                        Request request,
                        Interrupts& interrupts,
                        const std::function<Status(std::string_view)>& show);

}  // namespace farthing
