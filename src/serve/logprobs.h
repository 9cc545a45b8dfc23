// Collects the logprobs of one choice as JSON text, in the shape of its API: chat has
// {"content":[...]}, completions four parallel lists.
#pragma once

#include <string>
#include <string_view>

#include "core/event.h"
#include "serve/api_request.h"
#include "serve/backend.h"

namespace farthing {

class LogprobText {
 public:
  LogprobText(const ApiCall& call, const Backend& backend, size_t text_offset);

  // The first token of an echoed prompt: it has nothing before it, and so no logprob. Where `echo`
  // doesn't show it (BOS), it takes no characters.
  void begin_prompt(TokenId token, std::string_view echo);
  void add(const TokenEvent& event);
  std::string take();  // the object for what was added since the last take; "null" if nothing

 private:
  void add_chat(const TokenEvent& event);
  void add_completion(const TokenEvent& event);
  std::string name_of(TokenId token) const;

  ApiKind kind_;
  bool as_ids_;
  const Backend& backend_;
  size_t text_offset_;   // characters before the next token
  std::string content_;  // chat
  std::string tokens_, token_logprobs_, top_logprobs_, text_offsets_;  // completions
};

}  // namespace farthing
