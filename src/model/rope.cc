#include "model/rope.h"

#include <cmath>

namespace farthing {

void rope_angles(const RopeSpec& rope, int32_t position, std::span<float> cos_sin) {
  const size_t n = rope.frequency.size();
  for (size_t i = 0; i < n; ++i) {
    const double angle = position * rope.frequency[i];
    cos_sin[i] = static_cast<float>(std::cos(angle)) * rope.magnitude;
    cos_sin[n + i] = static_cast<float>(std::sin(angle)) * rope.magnitude;
  }
}

void apply_rope(const KernelTable& kernels,
                const RopeSpec& rope,
                std::span<const float> cos_sin,
                float* head) {
  const int32_t n = rope.dims / 2;
  const bool adjacent = rope.pairing == RopeSpec::Pairing::kAdjacent;
  kernels.rope(cos_sin.data(), cos_sin.data() + n, n, adjacent, head);
}

}  // namespace farthing
