#include "serve/logprobs.h"

#include <iterator>
#include <utility>

#include "serve/json_text.h"

namespace farthing {

namespace {

// JSON has no infinities: a token that can't come is shown as -9999, as the OpenAI API does.
void append_logprob(std::string& out, float logprob) {
  fmt::format_to(std::back_inserter(out), "{}", logprob >= -9999.0f ? logprob : -9999.0f);
}

void append_comma(std::string& out) {
  if (!out.empty()) out += ',';
}

// "token":..,"logprob":..,"bytes":[..]
void append_chat_token(std::string& out,
                       const TokenLogprob& token,
                       std::string_view name,
                       std::string_view piece) {
  out += "\"token\":";
  append_json_string(out, name);
  out += ",\"logprob\":";
  append_logprob(out, token.logprob);
  out += ",\"bytes\":[";
  for (size_t i = 0; i < piece.size(); ++i) {
    fmt::format_to(std::back_inserter(out),
                   "{}{}",
                   i == 0 ? "" : ",",
                   static_cast<int>(static_cast<unsigned char>(piece[i])));
  }
  out += ']';
}

}  // namespace

LogprobText::LogprobText(const ApiCall& call, const Backend& backend, size_t text_offset)
    : kind_(call.kind), as_ids_(call.tokens_as_ids), backend_(backend), text_offset_(text_offset) {}

std::string LogprobText::name_of(TokenId token) const {
  return as_ids_ ? fmt::format("token_id:{}", token) : std::string(backend_.piece(token));
}

void LogprobText::begin_prompt(TokenId token, std::string_view echo) {
  append_json_string(tokens_, name_of(token));
  token_logprobs_ = top_logprobs_ = "null";
  text_offsets_ = "0";
  const std::string_view piece = backend_.piece(token);
  if (echo.starts_with(piece)) text_offset_ += count_characters(piece);
}

void LogprobText::add(const TokenEvent& event) {
  if (!event.logprob) return;
  if (kind_ == ApiKind::kChat) {
    add_chat(event);
  } else {
    add_completion(event);
  }
}

void LogprobText::add_chat(const TokenEvent& event) {
  append_comma(content_);
  content_ += '{';
  const auto append = [&](const TokenLogprob& token) {
    append_chat_token(content_, token, name_of(token.token), backend_.piece(token.token));
  };
  append(*event.logprob);
  content_ += ",\"top_logprobs\":[";
  for (size_t i = 0; i < event.top.size(); ++i) {
    content_ += i == 0 ? "{" : ",{";
    append(event.top[i]);
    content_ += '}';
  }
  content_ += "]}";
}

void LogprobText::add_completion(const TokenEvent& event) {
  const std::string_view piece = backend_.piece(event.logprob->token);
  append_comma(tokens_);
  append_json_string(tokens_, name_of(event.logprob->token));
  append_comma(token_logprobs_);
  append_logprob(token_logprobs_, event.logprob->logprob);
  append_comma(text_offsets_);
  fmt::format_to(std::back_inserter(text_offsets_), "{}", text_offset_);
  text_offset_ += count_characters(piece);

  append_comma(top_logprobs_);
  top_logprobs_ += '{';
  bool chosen_is_among_them = false;
  std::string entries;
  for (const TokenLogprob& top : event.top) {
    chosen_is_among_them |= top.token == event.logprob->token;
    append_comma(entries);
    append_json_string(entries, name_of(top.token));
    entries += ':';
    append_logprob(entries, top.logprob);
  }
  if (!chosen_is_among_them) {
    append_comma(entries);
    append_json_string(entries, name_of(event.logprob->token));
    entries += ':';
    append_logprob(entries, event.logprob->logprob);
  }
  top_logprobs_ += entries;
  top_logprobs_ += '}';
}

std::string LogprobText::take() {
  std::string out;
  if (kind_ == ApiKind::kChat) {
    if (content_.empty()) return "null";
    out = fmt::format("{{\"content\":[{}],\"refusal\":null}}", content_);
    content_.clear();
  } else {
    if (tokens_.empty()) return "null";
    out = fmt::format(
        "{{\"tokens\":[{}],\"token_logprobs\":[{}],\"top_logprobs\":[{}],\"text_offset\":[{}]}}",
        tokens_,
        token_logprobs_,
        top_logprobs_,
        text_offsets_);
    for (std::string* list : {&tokens_, &token_logprobs_, &top_logprobs_, &text_offsets_}) {
      list->clear();
    }
  }
  return out;
}

}  // namespace farthing
