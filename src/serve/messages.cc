#include "serve/messages.h"

#include <algorithm>
#include <array>
#include <utility>

#include "serve/json_text.h"

namespace farthing {

namespace {

constexpr size_t kMaxMessages = 16384;
constexpr size_t kMaxParts = 1024;
constexpr size_t kMaxToolCalls = 128;
constexpr std::array<std::string_view, 5> kRoles = {
    "system", "developer", "user", "assistant", "tool"};
constexpr std::array<std::string_view, 7> kEfforts = {
    "none", "minimal", "low", "medium", "high", "xhigh", "max"};

template <size_t N>
bool contains(const std::array<std::string_view, N>& list, std::string_view value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

// The text of a list of parts, or nullopt and a fault in `body`.
std::optional<std::string> join_parts(Fields& body, const Json& parts, const std::string& path) {
  if (parts.size() > kMaxParts) {
    body.fail(
        bad_field(path, "{} has {} parts; at most {} are allowed", path, parts.size(), kMaxParts));
    return std::nullopt;
  }
  std::string text;
  for (size_t i = 0; i < parts.size(); ++i) {
    Fields part(parts[i], fmt::format("{}[{}].", path, i));
    const std::string type = part.string("type").value_or("");
    if (!part.failed() && type != "text") {
      part.fail("type",
                "{}[{}] is a part of type \"{}\"; only \"text\" is supported",
                path,
                i,
                shortened(type, 64));
    }
    const auto piece = part.string("text");
    if (!part.failed() && !piece) part.fail("text", "{}[{}].text is missing", path, i);
    if (part.failed()) {
      body.fail(*part.error());
      return std::nullopt;
    }
    if (i > 0) text += '\n';
    text += *piece;
  }
  return text;
}

// null, a string, or a list of text parts; an absent content is null.
Json read_content(Fields& body, const Json* content, const std::string& path) {
  if (!content) return nullptr;
  if (content->is_string()) return *content;
  if (content->is_array()) {
    auto text = join_parts(body, *content, path);
    return text ? Json(std::move(*text)) : Json(nullptr);
  }
  body.fail(bad_field(path,
                      "{} must be a string, null or a list of text parts, not {}",
                      path,
                      json_type(*content)));
  return nullptr;
}

Json read_tool_calls(Fields& body, const Json& calls, const std::string& path) {
  Json out = Json::array();
  for (size_t i = 0; i < calls.size(); ++i) {
    const std::string where = fmt::format("{}[{}]", path, i);
    Fields call(calls[i], where + ".");
    const Json* function = call.object("function");
    if (!call.failed() && !function) call.fail("function", "{}.function is missing", where);
    if (function) {
      Fields inner(*function, where + ".function.");
      if (!inner.string("name") && !inner.failed()) {
        inner.fail("name", "{}.function.name is missing", where);
      }
      if (inner.failed()) call.fail(*inner.error());
    }
    if (call.failed()) {
      body.fail(*call.error());
      return out;
    }
    Json copy = calls[i];
    Json& arguments = copy["function"]["arguments"];
    if (arguments.is_string()) {
      auto parsed = parse_json(arguments.get_ref<const std::string&>());
      if (auto* value = std::get_if<Json>(&parsed); value && value->is_object()) {
        arguments = std::move(*value);
      }
    }
    out.push_back(std::move(copy));
  }
  return out;
}

Json read_message(Fields& body, const Json& message, size_t index) {
  const std::string path = fmt::format("messages[{}]", index);
  Fields fields(message, path + ".");
  const auto role = fields.string("role");
  if (!fields.failed() && !role) fields.fail("role", "{}.role is missing", path);
  if (role && !contains(kRoles, *role)) {
    fields.fail("role",
                "{}.role is \"{}\"; known roles are system, developer, user, assistant and tool",
                path,
                shortened(*role, 64));
  }
  const Json* calls = fields.array("tool_calls", kMaxToolCalls);
  const Json* content = fields.find("content");
  Json out = Json::object();
  if (!fields.failed()) {
    if (!content && !message.contains("content") && !(calls && *role == "assistant")) {
      fields.fail("content", "{}.content is missing", path);
    }
    out["role"] = *role == "developer" ? "system" : *role;
    out["content"] = read_content(fields, content, path + ".content");
  }
  if (calls && !fields.failed()) {
    out["tool_calls"] = read_tool_calls(fields, *calls, path + ".tool_calls");
  }
  for (const char* name : {"name", "tool_call_id", "reasoning_content", "reasoning"}) {
    if (const auto text = fields.string(name)) out[name] = *text;
  }
  if (fields.failed()) body.fail(*fields.error());
  return out;
}

}  // namespace

ChatInput read_chat(Fields& body) {
  ChatInput input;
  input.messages = Json::array();
  const Json* messages = body.array("messages", kMaxMessages);
  if (!body.failed() && (!messages || messages->empty())) {
    body.fail("messages", "messages must be an array with at least one message");
  }
  for (size_t i = 0; messages && i < messages->size() && !body.failed(); ++i) {
    input.messages.push_back(read_message(body, (*messages)[i], i));
  }
  input.add_generation_prompt = body.boolean("add_generation_prompt").value_or(true);
  const Json* kwargs = body.object("chat_template_kwargs");
  const auto effort = body.string("reasoning_effort");
  if (effort && !contains(kEfforts, *effort)) {
    body.fail("reasoning_effort",
              "reasoning_effort must be one of none, minimal, low, medium, high, xhigh, max");
  }
  if (kwargs) input.kwargs = *kwargs;
  if (effort) {
    if (!input.kwargs.is_object()) input.kwargs = Json::object();
    if (!input.kwargs.contains("reasoning_effort")) input.kwargs["reasoning_effort"] = *effort;
  }
  return input;
}

}  // namespace farthing
