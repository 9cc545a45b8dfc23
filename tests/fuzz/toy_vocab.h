// Small vocabularies for the fuzz targets. Owns: nothing.
#pragma once

#include <string>
#include <vector>

#include "core/vocab.h"
#include "text/tokenizer.h"

namespace farthing::fuzz {

inline constexpr const char* kImStart = "<|im_start|>";
inline constexpr const char* kImEnd = "<|im_end|>";

inline std::string utf8_of(uint32_t c) {  // below U+0800
  if (c < 0x80) return std::string(1, static_cast<char>(c));
  return {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
}

// Byte-level BPE: the 256 bytes in the alphabet of GPT-2 (bytes that aren't printable in Latin-1
// become U+0100 and up), a few merges, two control tokens.
inline Vocab toy_byte_vocab() {
  Vocab vocab;
  vocab.model = "gpt2";
  vocab.pre = "llama-bpe";
  uint32_t next = 0x100;
  for (uint32_t b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    vocab.tokens.push_back(utf8_of(printable ? b : next++));
  }
  for (const char* merge :
       {"a b", "ab c", "e r", "\xC4\xA0 a", "\xC3\x83 \xC2\xA9", "\xC4\xA0 \xC4\xA0"}) {
    std::string joined = merge;
    joined.erase(joined.find(' '), 1);
    vocab.merges.emplace_back(merge);
    vocab.tokens.push_back(joined);
  }
  vocab.types.assign(vocab.tokens.size(), TokenType::kNormal);
  for (const char* control : {kImStart, kImEnd}) {
    vocab.tokens.emplace_back(control);
    vocab.types.push_back(TokenType::kControl);
  }
  vocab.eos = static_cast<TokenId>(vocab.tokens.size()) - 1;
  return vocab;
}

// SentencePiece with every byte as a fallback.
inline Vocab toy_spm_vocab() {
  Vocab vocab;
  vocab.model = "llama";
  vocab.add_space_prefix = false;
  vocab.add_bos = false;
  const auto add = [&](std::string token, TokenType type) {
    vocab.scores.push_back(type == TokenType::kNormal ? -static_cast<float>(vocab.tokens.size())
                                                      : 0);
    vocab.tokens.push_back(std::move(token));
    vocab.types.push_back(type);
  };
  add("<unk>", TokenType::kUnknown);
  add("<s>", TokenType::kControl);
  add("</s>", TokenType::kControl);
  constexpr char kHex[] = "0123456789ABCDEF";
  for (int b = 0; b < 256; ++b) {
    add(std::string("<0x") + kHex[b >> 4] + kHex[b & 15] + ">", TokenType::kByte);
  }
  for (const char* piece : {"\u2581",
                            "\u2581a",
                            "ab",
                            "abc",
                            "er",
                            "a",
                            "b",
                            "c",
                            "e",
                            "r",
                            "\u00e9",
                            "\u2581\u2581"}) {
    add(piece, TokenType::kNormal);
  }
  vocab.unknown = 0;
  vocab.bos = 1;
  vocab.eos = 2;
  return vocab;
}

inline Tokenizer toy_tokenizer(const Vocab& vocab) {
  auto made = Tokenizer::from_vocab(vocab);
  CHECK(made.has_value());
  return *std::move(made);
}

}  // namespace farthing::fuzz
