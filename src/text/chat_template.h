// Owns: one compiled Jinja chat template. Does not know: tokens, models.
// Renders as `transformers` sets up jinja2, byte for byte; a template is a program from a file, so
// steps, nesting, memory and output are limited (kBadInput when exceeded): see
// rust/src/template/limits.rs.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace farthing {

struct ChatInput {
  Json messages;  // array of {role, content, ...}
  Json tools;     // array or null
  Json kwargs;    // object or null: more template variables (chat_template_kwargs)
  bool add_generation_prompt = true;
  std::optional<std::string> now;  // ISO 8601 local time for strftime_now; else the clock
};

class ChatTemplate {
 public:
  // bos and eos are the spellings the template sees as bos_token and eos_token (an empty one is not
  // defined; kwargs may override them).
  static Result<ChatTemplate> compile(std::string source, std::string bos, std::string eos);
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // kBadInput with the template's own message for raise_exception, else with the line and the
  // reason. Thread-safe.
  Result<std::string> render(const ChatInput& input) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace farthing
