// libFuzzer target: any bytes, one token each, through the StreamDecoder. Every piece given out is
// whole UTF-8, no valid character is lost or changed, at most three bytes are held back, and where
// the stream is cut into tokens doesn't matter.
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "tests/fuzz/require.h"
#include "tests/fuzz/toy_vocab.h"
#include "text/stream_decoder.h"
#include "text/utf8.h"

namespace farthing::fuzz {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// The characters that are valid, by the other implementation of UTF-8 (base/utf8.h).
std::string valid_characters(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const size_t length = utf8_length(bytes);
    const std::string_view character = bytes.substr(0, length);
    if (character != kReplacement) out += character;
    bytes.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

void fuzz_utf8(std::string_view bytes) {
  static const Tokenizer tokenizer = toy_tokenizer(toy_byte_vocab());
  StreamDecoder decoder(tokenizer, false);
  std::string text;
  std::string so_far;
  for (const char c : bytes) {
    const std::string piece = decoder.push(static_cast<unsigned char>(c));
    require(is_utf8(piece), "a piece is no UTF-8");
    text += piece;
    so_far += c;
    const size_t whole = utf8_whole_prefix(so_far);
    require(so_far.size() - whole <= 3, "{} bytes held back", so_far.size() - whole);
    if (whole == so_far.size()) so_far.clear();
  }
  text += decoder.finish();
  require(is_utf8(text), "the end is no UTF-8");
  require(text == utf8_lossy(bytes), "the stream differs from the whole");
  require(valid_characters(text) == valid_characters(bytes), "a character was lost or changed");
  if (is_utf8(bytes)) require(text == bytes, "valid text was changed");

  // Multi-byte tokens: as the tokenizer cuts the text that came out.
  const auto ids = tokenizer.encode(text);
  require(ids.has_value(), "doesn't encode what it decoded");
  StreamDecoder again(tokenizer, false);
  std::string second;
  for (const TokenId id : *ids) second += again.push(id);
  second += again.finish();
  require(second == text, "another cut gives another text");
}

}  // namespace
}  // namespace farthing::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  farthing::fuzz::fuzz_utf8({reinterpret_cast<const char*>(data), size});
  return 0;
}
