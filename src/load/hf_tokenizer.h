// A Hugging Face folder's tokenizer.json and tokenizer_config.json as the GGUF keys tokenizer.*, so
// that one reader (vocabulary.h) validates both kinds of vocabulary, and a folder can become a GGUF.
// Byte-level BPE ("gpt2") and BPE over U+2581 with byte tokens ("llama", whose scores are made of
// the order of merges). Does not know: how text becomes tokens; a folder's text is tokenised by
// tokenizer.json itself (docs/decisions/0002, 0012).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "load/limits.h"
#include "load/metadata.h"

namespace farthing {

struct HfTokenizer {
  std::span<const std::byte> tokenizer_json;
  std::span<const std::byte> tokenizer_config;  // empty: there is none
  std::span<const std::byte> chat_template;     // chat_template.jinja; empty: there is none
  std::vector<int64_t> end_ids;                 // eos_token_id of generation_config or config
  int64_t bos_id = -1;                          // bos_token_id of config, for want of a better one
  int64_t vocab_size = 0;                       // ids the model has; those without a text are padded
};

// Adds the keys to `out`; their arrays point into `made`, which grows. kBadInput names the key or
// offset. Harmless oddities are added to `notes`.
Status read_hf_tokenizer(const HfTokenizer& files,
                         Allowance& allowance,
                         Metadata& out,
                         std::vector<std::vector<std::byte>>& made,
                         std::vector<std::string>& notes);

}  // namespace farthing
