// What the chapter claims of techniques, held against a ladder; and the parts of the whole:
// machine, algorithm, system. Pure: from a ladder's JSON (measure/ladder_report.h) alone.
#pragma once

#include "base/json.h"

namespace farthing {

// {"algorithm", "system", "product", "whole", "alone": {...}, "machine": {...}}: products of the
// rungs' factors on top of each other, and alone; and this machine against a stated older one.
Json factors_of(const Json& ladder);

// [{"id", "claim", "claimed": [lo, hi], "unit", "measured", "measured_text", "condition",
// "verdict"}]; verdicts: "holds here", "more than claimed", "not here", "not measured".
Json claims_of(const Json& ladder);

}  // namespace farthing
