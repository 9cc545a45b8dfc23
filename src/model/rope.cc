#include "model/rope.h"

#include <cmath>

namespace farthing {

void rope_angles(const RopeSpec& rope, int32_t position, std::span<float> cos_sin) {
  for (size_t i = 0; i < rope.frequency.size(); ++i) {
    const double angle = position * rope.frequency[i];
    cos_sin[2 * i] = static_cast<float>(std::cos(angle)) * rope.magnitude;
    cos_sin[2 * i + 1] = static_cast<float>(std::sin(angle)) * rope.magnitude;
  }
}

void apply_rope(const RopeSpec& rope, std::span<const float> cos_sin, float* head) {
  const int32_t half = rope.dims / 2;
  const bool adjacent = rope.pairing == RopeSpec::Pairing::kAdjacent;
  for (int32_t i = 0; i < half; ++i) {
    float& a = head[adjacent ? 2 * i : i];
    float& b = head[adjacent ? 2 * i + 1 : i + half];
    const float c = cos_sin[2 * i];
    const float s = cos_sin[2 * i + 1];
    const float rotated = a * c - b * s;
    b = a * s + b * c;
    a = rotated;
  }
}

}  // namespace farthing
