// Where the nucleus ends (top-p; Holtzman et al. 2020, The Curious Case of Neural Text
// Degeneration).
#pragma once

#include <span>

#include "core/top_k.h"

namespace farthing {

// The last of the best ones whose values together reach `goal` (the last of all if they don't): the
// nucleus is what isn't worse. Needs at least one candidate and
// changes their order; no full sort.
Candidate nucleus_end(std::span<Candidate> candidates, double goal);

}  // namespace farthing
