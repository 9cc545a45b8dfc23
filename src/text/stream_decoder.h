// Owns: the undecoded tail of one token stream. Turns tokens into text that may be shown at once:
// whole UTF-8 characters only. Invariant: the pieces given out, joined, equal Tokenizer::decode of
// all tokens (with bytes that are no UTF-8 replaced by U+FFFD).
#pragma once

#include <string>

#include "core/ids.h"
#include "text/tokenizer.h"

namespace farthing {

class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special);
  std::string push(TokenId token);  // the text that became complete; may be empty
  std::string finish();             // what is left; an unfinished character is one U+FFFD

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  bool first_ = true;
  std::string pending_;
};

}  // namespace farthing
