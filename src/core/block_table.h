// BlockTable: which KVBlocks hold a sequence's positions, in order. Position p lives in slot p %
// kKVBlockTokens of block p / kKVBlockTokens. Does not own the blocks: their lease is given back by
// who took it.
#pragma once

#include <cstdint>
#include <vector>

#include "core/ids.h"

namespace farthing {

inline constexpr int32_t kKVBlockTokens = 32;

using BlockTable = std::vector<BlockId>;

constexpr int32_t blocks_for(int32_t n_tokens) {
  return (n_tokens + kKVBlockTokens - 1) / kKVBlockTokens;
}

}  // namespace farthing
