// A strong id: two kinds of index can't be mixed up, and an id costs what its integer costs.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace farthing {

template <class Tag>
struct Id {
  uint32_t v = 0;
  friend auto operator<=>(Id, Id) = default;
};

}  // namespace farthing

template <class Tag>
struct std::hash<farthing::Id<Tag>> {
  size_t operator()(farthing::Id<Tag> id) const noexcept { return std::hash<uint32_t>{}(id.v); }
};
