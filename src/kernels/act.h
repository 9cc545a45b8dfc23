// The kQ8_32 layout of activations: one cache line per 32 values, so that a kernel finds the
// integers, their scale and every sum it can need by one address. Every Isa packs to the same
// bytes.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/checked.h"

namespace farthing {

inline constexpr int64_t kActGroup = 32;  // values per group

// x[i] ~= scale * q[i]. For weights that are stored with an offset (value + offset), integer sums
// start at -offset * (sum of q): for the offsets in use, so that no kernel has to multiply.
struct alignas(64) ActGroup {
  int8_t q[32];       // round to nearest even of x * (127 / amax), within +-127
  float scale;        // amax / 127; NaN if the group has a NaN or an infinity, 0 if amax < kActTiny
  float sum;          // scale * (q[0] + ... + q[31]), for formats with a minimum
  float sum_low;      // the same of the first 16
  float sum_high;     // and of the last 16
  int32_t start_8;    // -8 * (q[0] + ... + q[31])
  int32_t start_128;  // -128 * the same
  int32_t start_32_low;   // -32 * (q[0] + ... + q[15])
  int32_t start_32_high;  // -32 * (q[16] + ... + q[31])
};
static_assert(sizeof(ActGroup) == 64);

// Tokens lie in blocks of 16, the last one as wide as the next power of two; in a block, the groups
// of its tokens side by side. A token's groups are followed by zero groups up to kActPadding
// values: tile units may be larger than what is left of a row.
inline constexpr int32_t kActBlockTokens = 16;
inline constexpr int64_t kActPadding = 128;

struct ActBlock {
  int64_t offset;        // of the first token's first group
  int64_t group_stride;  // bytes from a group to the next of the same token
  int32_t width;         // tokens it has room for: 1, 2, 4, 8 or 16
};

constexpr int64_t act_groups(int64_t cols) {
  return round_up(cols, kActPadding) / kActGroup;
}

// The block that token (a multiple of kActBlockTokens) starts; the next token's first group is one
// ActGroup further.
constexpr ActBlock act_block(int64_t cols, int32_t n_tokens, int32_t token) {
  constexpr int64_t kBytes = sizeof(ActGroup);
  const uint32_t left = static_cast<uint32_t>(std::min(kActBlockTokens, n_tokens - token));
  const int32_t width = static_cast<int32_t>(std::bit_ceil(left));
  return {token * act_groups(cols) * kBytes, width * kBytes, width};
}

// Bytes of n_tokens tokens of `cols` activations, in blocks as above.
constexpr int64_t act_bytes(int64_t n_tokens, int64_t cols) {
  return round_up(n_tokens, kActBlockTokens) * act_groups(cols) *
         static_cast<int64_t>(sizeof(ActGroup));
}

inline constexpr float kActTiny = 1e-36f;  // 127 / amax must not overflow

}  // namespace farthing
