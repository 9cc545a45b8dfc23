// Owns: how a user's text that spells a control token stays plain text in a rendered chat.
// Does not know: templates, token ids.
// A guard is a Unicode noncharacter (U+FDD0..U+FDEF) that stands nowhere in the input. It is put
// behind the first character of every spelling of a control token in the values that come from the
// user; the template then carries it into the text like any character, so a spelling without a
// guard inside is the template's own. Tokenizer::encode (EncodeOptions::guard) drops the guards and
// lets no control token span one.
#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "text/chat_template.h"

namespace farthing {

struct Guarded {
  ChatInput input;
  char32_t guard;  // for EncodeOptions::guard; 0: nothing had to be guarded
};

// Guards every string value of messages (but their `role`), tools and kwargs; keys stay as they
// are. kBadInput if all 32 noncharacters stand in the input. Spellings of a single character can't
// be broken from inside and are left alone.
Result<Guarded> guard_chat(ChatInput input, std::span<const std::string_view> control_spellings);

}  // namespace farthing
