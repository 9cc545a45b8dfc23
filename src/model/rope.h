// Rotary position embedding: the angles of one position, and their use on the heads of one token.
#pragma once

#include <cstdint>
#include <span>

#include "model/spec.h"

namespace farthing {

// cos_sin: [dims], cosine and sine of each frequency in turn, times the rope's magnitude.
void rope_angles(const RopeSpec& rope, int32_t position, std::span<float> cos_sin);

// Rotates the leading rope.dims values of one head in place.
void apply_rope(const RopeSpec& rope, std::span<const float> cos_sin, float* head);

}  // namespace farthing
