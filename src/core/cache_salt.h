// Who may share stored prefixes with whom: a digest of the caller's key and the request's
// cache_salt. Different salts share nothing.
#pragma once

#include <cstdint>

namespace farthing {

struct CacheSalt {
  uint64_t high = 0, low = 0;
  friend bool operator==(CacheSalt, CacheSalt) = default;
};

}  // namespace farthing
