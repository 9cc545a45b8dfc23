// One row of a batch, flattened.
#pragma once

#include <cstdint>

#include "core/sequence.h"

namespace farthing {

struct TokenRow {
  const Sequence* sequence = nullptr;
  int32_t position = 0;
};

}  // namespace farthing
