// Owns: the cut of a long text into windows that are scored one by one, as llama-perplexity cuts
// it: windows of n tokens, side by side; the first token of each becomes BOS if the model's
// vocabulary adds one; tokens after the first half are scored, so that each has at least that much
// before it. Does not know: models, logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.h"

namespace farthing {

class Windows {
 public:
  // size >= 3. bos: -1 if windows begin with their own first token. At most `most` windows; 0: all
  // that fit. What doesn't fill a window is left out. `tokens` outlives this.
  Windows(std::span<const TokenId> tokens, int32_t size, TokenId bos, int32_t most);

  int32_t count() const { return count_; }
  int32_t size() const { return size_; }
  // Logits of positions [first_scored, size - 1) are needed: each predicts the next token.
  int32_t first_scored() const { return size_ / 2; }
  int32_t n_scored() const { return size_ - 1 - first_scored(); }

  std::vector<TokenId> at(int32_t index) const;

 private:
  std::span<const TokenId> tokens_;
  int32_t size_;
  TokenId bos_;
  int32_t count_;
};

}  // namespace farthing
