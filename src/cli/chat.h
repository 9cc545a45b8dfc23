// The chat on a terminal: lines in, answers out, with the history of both, until the user leaves.
#pragma once

#include <string>

#include "base/result.h"
#include "cli/session.h"

namespace farthing {

// /exit or Ctrl-D leave; Ctrl-C ends an answer, clears a line that is begun, and leaves when
// pressed twice at an empty one (kInterrupted with no message). A model without a template
// completes each line by itself.
Status chat(Session& session, const std::string& system);

}  // namespace farthing
