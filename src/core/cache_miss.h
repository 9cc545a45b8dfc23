// Why a prompt's next tokens weren't found in the prefix cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace farthing {

enum class CacheMiss : uint8_t {
  kNone,     // all that may be reused was found
  kNoEntry,  // nobody with the same salt computed them, or it is too long ago to say
  kEvicted,  // they were there, but the memory was needed
  kOff,      // there is no prefix cache
};

inline constexpr size_t kCacheMissCount = 4;

constexpr std::string_view cache_miss_name(CacheMiss miss) {
  constexpr std::string_view kNames[] = {"none", "no_entry", "evicted", "off"};
  return kNames[static_cast<size_t>(miss)];
}

}  // namespace farthing
