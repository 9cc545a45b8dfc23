// Owns: a tokenizer built from a Vocab (GGUF) or a tokenizer.json. Does not know: chats, requests,
// models. Exact: ids equal llama.cpp's for a Vocab, Hugging Face tokenizers' for a tokenizer.json
// (tests/golden). Thread-safe after construction. Encoding is O(n log n) in the bytes of the text.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "core/ids.h"
#include "core/vocab.h"

namespace farthing {

struct EncodeOptions {
  bool add_special = false;    // BOS/EOS/CLS/SEP as the vocabulary asks
  bool parse_special = false;  // text that spells a control token becomes that token
  // A code point that breaks the spelling of a control token and is then dropped from the text (0:
  // none); see text/chat_template.h: it keeps a user's "<|im_end|>" plain text inside a rendered
  // template.
  char32_t guard = 0;
};

// What a tokenizer.json doesn't say of its tokens, and the files beside it do.
struct NamedTokens {
  std::optional<TokenId> bos, eos;
  std::vector<TokenId> ends;  // these end a generation, beside those that their spelling shows
};

class Tokenizer {
 public:
  static Result<Tokenizer> from_vocab(const Vocab& vocab);
  // Most bytes that from_vocab takes while it works; what it keeps is less. A bound from the sizes
  // of its tables, so that it holds for hostile vocabularies too: real ones need half.
  static int64_t memory_bound(const Vocab& vocab);
  static Result<Tokenizer> from_json(std::string_view tokenizer_json,
                                     const NamedTokens& named = {});
  static int64_t memory_bound_of_json(int64_t bytes);  // of from_json, by the size of the text
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // kBadInput with the byte offset if the text isn't UTF-8.
  Result<std::vector<TokenId>> encode(std::string_view text, EncodeOptions options = {}) const;
  // The exact bytes of the ids (which need not be UTF-8). Ids outside the vocabulary are kBadInput.
  Result<std::string> decode(std::span<const TokenId> ids, bool skip_special = false) const;
  // The bytes that one token adds in the middle of a text; control tokens give their spelling, ids
  // outside the vocabulary nothing. Valid as long as the tokenizer.
  std::string_view piece(TokenId id) const;
  // The piece of a text's first shown token: a vocabulary that puts a space before a text takes it
  // away here.
  std::string_view without_leading_space(TokenId id, std::string_view piece) const;

  int32_t vocab_size() const;
  bool is_control(TokenId id) const;  // control or unknown: not shown with skip_special
  bool is_end_of_generation(
      TokenId id) const;  // EOS, EOT, EOM and the like, as llama.cpp finds them
  TokenId bos() const;    // -1 if the vocabulary has none
  TokenId eos() const;
  bool adds_bos() const;                             // encode(add_special) puts BOS first
  const std::vector<std::string>& warnings() const;  // e.g. no tokenizer.ggml.pre

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace farthing
