#include "text/stream_decoder.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "text/utf8.h"

namespace farthing {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : tokenizer_(&tokenizer), skip_special_(skip_special) {}

std::string StreamDecoder::push(TokenId token) {
  if (skip_special_ && tokenizer_->is_control(token)) return {};
  std::string_view piece = tokenizer_->piece(token);
  if (first_ && !piece.empty()) {
    first_ = false;
    piece = tokenizer_->without_leading_space(token, piece);
  }
  pending_ += piece;
  const size_t whole = utf8_whole_prefix(pending_);
  std::string text = utf8_lossy(std::string_view(pending_).substr(0, whole));
  pending_.erase(0, whole);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text = utf8_lossy(pending_);
  pending_.clear();
  return text;
}

}  // namespace farthing
