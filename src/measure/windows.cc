#include "measure/windows.h"

#include <algorithm>
#include <cstddef>
#include <limits>

#include "base/check.h"

namespace farthing {

Windows::Windows(std::span<const TokenId> tokens, int32_t size, TokenId bos, int32_t most)
    : tokens_(tokens), size_(size), bos_(bos) {
  CHECK(size >= 3);
  const size_t whole = std::min<size_t>(tokens.size() / static_cast<size_t>(size),
                                        std::numeric_limits<int32_t>::max());
  count_ = static_cast<int32_t>(whole);
  if (most > 0) count_ = std::min(count_, most);
}

std::vector<TokenId> Windows::at(int32_t index) const {
  CHECK(index >= 0 && index < count_);
  const auto part = tokens_.subspan(static_cast<size_t>(index) * static_cast<size_t>(size_),
                                    static_cast<size_t>(size_));
  std::vector<TokenId> window(part.begin(), part.end());
  if (bos_ >= 0) window[0] = bos_;
  return window;
}

}  // namespace farthing
