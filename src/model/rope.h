// Rotary position embedding: the angles of one position, and their use on the heads of one token.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/kernel_table.h"
#include "model/spec.h"

namespace farthing {

// cos_sin: [dims], the cosines of all frequencies, then their sines, times the rope's magnitude.
void rope_angles(const RopeSpec& rope, int32_t position, std::span<float> cos_sin);

// Rotates the leading rope.dims values of one head in place.
void apply_rope(const KernelTable& kernels,
                const RopeSpec& rope,
                std::span<const float> cos_sin,
                float* head);

}  // namespace farthing
