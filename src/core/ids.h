// The ids that cross folders. A token id is a plain integer: it indexes vocabularies and logits
// everywhere.
#pragma once

#include <cstdint>

#include "base/id.h"

namespace farthing {

using TokenId = int32_t;  // 0 <= id < vocabulary size

using RequestId = Id<struct RequestTag>;
using SequenceId = Id<struct SequenceTag>;
using BlockId = Id<struct KVBlockTag>;  // a KVBlock of the KVPool

}  // namespace farthing
