// The kQ8_32 layout of activations: one cache line per 32 values, so that a kernel finds the
// integers, their scale and every sum it can need by one address. Every Isa packs to the same
// bytes.
#pragma once

#include <cstdint>

namespace farthing {

inline constexpr int64_t kActGroup = 32;  // values per group

// x[i] ~= scale * q[i]. Sums of q are negated, which is how offset formats (q_weight - offset) need
// them.
struct alignas(64) ActGroup {
  int8_t q[32];     // round to nearest even of x * (127 / amax), within +-127
  float scale;      // amax / 127; NaN if the group has a NaN or an infinity, 0 if amax < kActTiny
  float sum;        // scale * (q[0] + ... + q[31]), for formats with a minimum
  float sum_low;    // the same of the first 16
  float sum_high;   // and of the last 16
  int32_t neg_sum;  // -(q[0] + ... + q[31])
  int32_t neg_sum_low;
  int32_t neg_sum_high;
  int32_t unused;  // 0
};
static_assert(sizeof(ActGroup) == 64);

inline constexpr float kActTiny = 1e-36f;  // 127 / amax must not overflow

}  // namespace farthing
