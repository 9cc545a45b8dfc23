// The chat half of a request body: messages and template variables -> ChatInput, checked and
// normalised.
#pragma once

#include "serve/fields.h"
#include "text/chat_template.h"

namespace farthing {

// Reads `messages`, `add_generation_prompt`, `chat_template_kwargs` and `reasoning_effort`; faults
// land in `body`. A list of text parts becomes one string, joined by newlines; `developer` becomes
// `system`; tool call arguments given as JSON text become objects, as the templates expect them.
ChatInput read_chat(Fields& body);

}  // namespace farthing
