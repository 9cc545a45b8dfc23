// Prompts of a request body -> token ids: a chat by the model's template, completions as text or
// ids.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "serve/backend.h"
#include "serve/fields.h"

namespace farthing {

struct Prompt {
  std::vector<TokenId> tokens;
  std::string text;   // of completions with echo
  std::string field;  // "prompt", "prompt[3]", "messages"
};

struct PromptOptions {
  bool echo = false;
  bool parse_special = false;  // text that spells a control token becomes that token
};

// An integer within the vocabulary, or nothing.
std::optional<TokenId> token_id(const Json& value, int32_t vocab_size);

// An array of token ids; a fault in `body` (named `field`) if it is anything else.
std::vector<TokenId> read_token_ids(Fields& body,
                                    const Json& ids,
                                    const std::string& field,
                                    int32_t vocab_size);

// Both give no prompt if they left a fault in `body`.
std::vector<Prompt> read_chat_prompt(Fields& body, const Backend& backend);
// `prompt`: a string, a list of strings, a list of token ids, or a list of lists of token ids.
std::vector<Prompt> read_prompts(Fields& body,
                                 const Backend& backend,
                                 const PromptOptions& options);

}  // namespace farthing
