#include "serve/prompts.h"

#include <utility>

#include "serve/api_request.h"
#include "serve/messages.h"

namespace farthing {

namespace {

std::vector<TokenId> encode_text(Fields& body,
                                 const std::string& text,
                                 const std::string& field,
                                 const Backend& backend,
                                 const PromptOptions& options) {
  auto tokens = backend.encode(text, /*add_special=*/true, options.parse_special);
  if (!tokens) {
    body.fail(to_api_error(tokens.error(), field));
    return {};
  }
  if (tokens->empty() && backend.info().bos >= 0) tokens->push_back(backend.info().bos);
  return *std::move(tokens);
}

Prompt read_prompt(Fields& body,
                   const Json& value,
                   std::string field,
                   const Backend& backend,
                   const PromptOptions& options) {
  Prompt prompt;
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    prompt.tokens = encode_text(body, text, field, backend, options);
    if (options.echo) prompt.text = text;
  } else {
    prompt.tokens = read_token_ids(body, value, field, backend.info().vocab_size);
    if (options.echo && !body.failed()) {
      auto text = backend.decode(prompt.tokens, /*skip_special=*/false);
      if (text) {
        prompt.text = *std::move(text);
      } else {
        body.fail(to_api_error(text.error(), field));
      }
    }
  }
  if (prompt.tokens.empty()) body.fail(field, "{} is empty: it needs at least one token", field);
  prompt.field = std::move(field);
  return prompt;
}

}  // namespace

std::optional<TokenId> token_id(const Json& value, int32_t vocab_size) {
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<uint64_t>() >= static_cast<uint64_t>(vocab_size)) {
    return std::nullopt;
  }
  const auto id = value.get<int64_t>();
  if (id < 0 || id >= vocab_size) return std::nullopt;
  return static_cast<TokenId>(id);
}

std::vector<TokenId> read_token_ids(Fields& body,
                                    const Json& ids,
                                    const std::string& field,
                                    int32_t vocab_size) {
  std::vector<TokenId> out;
  if (!ids.is_array()) {
    body.fail(field, "{} must be a list of token ids, not {}", field, json_type(ids));
    return out;
  }
  out.reserve(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto id = token_id(ids[i], vocab_size);
    if (!id) {
      body.fail(field, "{}[{}] is no token id in [0, {})", field, i, vocab_size);
      return {};
    }
    out.push_back(*id);
  }
  return out;
}

std::vector<Prompt> read_chat_prompt(Fields& body, const Backend& backend) {
  ChatInput input = read_chat(body);
  if (body.failed()) return {};
  const ModelInfo& info = backend.info();
  if (!info.has_chat_template) {
    body.fail("messages",
              "the model {} has no chat template{}{}, so it can't chat: use /v1/completions",
              info.id,
              info.chat_template_error.empty() ? "" : " that works: ",
              info.chat_template_error);
    return {};
  }
  auto tokens = backend.chat_prompt(std::move(input));
  if (!tokens) {
    body.fail(to_api_error(tokens.error(), "messages"));
    return {};
  }
  if (tokens->empty()) {
    body.fail("messages", "the chat template renders these messages to nothing");
    return {};
  }
  std::vector<Prompt> prompts;
  prompts.push_back({.tokens = *std::move(tokens), .field = "messages"});
  return prompts;
}

std::vector<Prompt> read_prompts(Fields& body,
                                 const Backend& backend,
                                 const PromptOptions& options) {
  const Json* value = body.find("prompt");
  if (body.failed()) return {};
  std::vector<Prompt> prompts;
  const bool is_list = value && value->is_array() && !value->empty();
  const bool is_batch = is_list && !(*value)[0].is_number();
  if (!value || (!value->is_string() && !is_list)) {
    body.fail("prompt",
              "prompt must be a string, a list of strings, or one or more lists of token ids, and "
              "not empty");
  } else if (is_batch && value->size() > kMaxPrompts) {
    body.fail(
        "prompt", "prompt has {} entries; at most {} are allowed", value->size(), kMaxPrompts);
  } else if (!is_batch) {
    prompts.push_back(read_prompt(body, *value, "prompt", backend, options));
  } else {
    const bool strings = (*value)[0].is_string();
    for (size_t i = 0; i < value->size() && !body.failed(); ++i) {
      const std::string field = fmt::format("prompt[{}]", i);
      if ((*value)[i].is_string() != strings) {
        body.fail(field, "prompt mixes strings and token ids");
        break;
      }
      prompts.push_back(read_prompt(body, (*value)[i], field, backend, options));
    }
  }
  if (body.failed()) return {};
  return prompts;
}

}  // namespace farthing
