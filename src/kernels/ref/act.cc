#include "kernels/act.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/ref/ref.h"

namespace farthing {
namespace {

void pack_group(const float* x, ActGroup& out) {
  float amax = 0;
  bool finite = true;
  for (int i = 0; i < kActGroup; ++i) {
    amax = std::max(amax, std::fabs(x[i]));
    finite = finite && std::isfinite(x[i]);
  }
  out = {};
  if (!finite) {
    out.scale = out.sum = out.sum_low = out.sum_high = std::numeric_limits<float>::quiet_NaN();
    return;
  }
  if (amax < kActTiny) return;
  const float inverse = 127 / amax;
  int32_t low = 0, high = 0;
  for (int i = 0; i < kActGroup; ++i) {
    const float q = std::nearbyint(x[i] * inverse);
    out.q[i] = static_cast<int8_t>(std::clamp(q, -127.0f, 127.0f));
    (i < 16 ? low : high) += out.q[i];
  }
  out.scale = amax / 127;
  out.sum = out.scale * static_cast<float>(low + high);
  out.sum_low = out.scale * static_cast<float>(low);
  out.sum_high = out.scale * static_cast<float>(high);
  out.start_8 = -8 * (low + high);
  out.start_128 = -128 * (low + high);
  out.start_32_low = -32 * low;
  out.start_32_high = -32 * high;
}

}  // namespace

void ref_pack_q8_32(const float* x, int64_t cols, std::byte* out, int64_t group_stride) {
  for (int64_t g = 0; g < cols / kActGroup; ++g) {
    pack_group(x + g * kActGroup, *reinterpret_cast<ActGroup*>(out + g * group_stride));
  }
}

}  // namespace farthing
