// A vocabulary as a model file states it: plain values, validated by load/, turned into a Tokenizer
// by text/. Source: the GGUF keys tokenizer.* (GGUF specification: ggml, docs/gguf.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/ids.h"

namespace farthing {

// tokenizer.ggml.token_type; the numbers are the format's.
enum class TokenType : uint8_t {
  kUndefined = 0,
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

struct Vocab {
  std::string model;  // tokenizer.ggml.model: gpt2 (byte-level BPE), llama (SentencePiece BPE),
                      // bert, gemma4...
  std::optional<std::string> pre;    // tokenizer.ggml.pre: which pre-tokenizer
  std::vector<std::string> tokens;   // text of each id, in the model's own alphabet
  std::vector<float> scores;         // as many as tokens, or none
  std::vector<TokenType> types;      // as many as tokens, or none (then all normal)
  std::vector<std::string> merges;   // "left right", best first
  std::string precompiled_charsmap;  // unigram models only; raw bytes

  std::optional<TokenId> bos, eos, eot, eom, unknown, separator, padding, cls, mask;
  std::optional<TokenId> fim_pad, fim_rep,
      fim_sep;  // fill-in-the-middle markers: they end a generation too
  std::optional<bool> add_bos, add_eos, add_sep, add_space_prefix, remove_extra_whitespaces;
  std::optional<bool> lowercase, strip_accents;  // tokenizer.ggml.normalizer.*: WordPiece only
  std::string model_name;  // general.name: phi-3's special tokens, known by it, swallow the space
                           // after them

  std::string chat_template;  // tokenizer.chat_template; empty if the model has none
};

}  // namespace farthing
