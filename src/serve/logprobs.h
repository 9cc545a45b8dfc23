// Collects the logprobs of one choice as JSON text, in the shape of its API: chat has
// {"content":[...]}, completions four parallel lists.
#pragma once

#include <string>

#include "core/event.h"
#include "serve/api_request.h"
#include "serve/backend.h"

namespace farthing {

class LogprobText {
 public:
  LogprobText(ApiKind kind, const Backend& backend, size_t text_offset);

  void add(const TokenEvent& event);
  std::string take();  // the object for what was added since the last take; "null" if nothing

 private:
  void add_chat(const TokenEvent& event);
  void add_completion(const TokenEvent& event);

  ApiKind kind_;
  const Backend& backend_;
  size_t text_offset_;   // characters before the next token
  std::string content_;  // chat
  std::string tokens_, token_logprobs_, top_logprobs_, text_offsets_;  // completions
};

}  // namespace farthing
