#include "text/chat_template.h"

#include <array>
#include <ctime>
#include <utility>
#include <vector>

#include <farthing_rust.h>

#include "base/utf8.h"

namespace farthing {
namespace {

// The names under which a message may carry its reasoning, in the order of preference.
constexpr std::array kReasoningNames = {"reasoning_content", "thinking", "reasoning"};

const uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

// Bytes: errors quote the template, whose raise_exception() says what it likes.
constexpr size_t kMostOfAnError = 512;

std::string take(FarthingBytes bytes) {
  std::string text(reinterpret_cast<const char*>(bytes.data), bytes.len);
  farthing_bytes_free(bytes);
  return text;
}

std::string local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
                     parts.tm_year + 1900,
                     parts.tm_mon + 1,
                     parts.tm_mday,
                     parts.tm_hour,
                     parts.tm_min,
                     parts.tm_sec);
}

const Json* reasoning_of(const Json& message) {
  for (const char* name : kReasoningNames) {
    const auto found = message.find(name);
    if (found != message.end() && !found->is_null()) return &*found;
  }
  return nullptr;
}

// Templates read the reasoning as `reasoning_content`, some as `thinking`; clients send any of the
// three names. As transformers: {"thinking": r, **message, "reasoning_content": r}.
Json with_reasoning_names(const Json& message, const Json& reasoning) {
  Json named = Json::object();
  named["thinking"] = reasoning;
  for (const auto& [key, value] : message.items()) named[key] = value;
  named["reasoning_content"] = reasoning;
  return named;
}

// Deeper values than this are refused before anything recursive (a copy, a dump) sees them.
constexpr int kMaxDepth = 100;

bool is_shallow(const Json& value) {
  std::vector<std::pair<const Json*, int>> pending{{&value, 1}};
  while (!pending.empty()) {
    const auto [next, depth] = pending.back();
    pending.pop_back();
    if (!next->is_structured()) continue;
    if (depth > kMaxDepth) return false;
    for (const Json& child : *next) pending.emplace_back(&child, depth + 1);
  }
  return true;
}

Status check_shape(const ChatInput& input) {
  if (!input.messages.is_array()) return bad_input("messages must be an array");
  for (const Json& message : input.messages) {
    if (!message.is_object()) return bad_input("each message must be an object");
  }
  if (!input.tools.is_null() && !input.tools.is_array()) {
    return bad_input("tools must be an array or null");
  }
  for (const Json* part : {&input.messages, &input.tools, &input.kwargs}) {
    if (!is_shallow(*part)) {
      return bad_input("messages, tools or template variables nest more than {} levels deep",
                       kMaxDepth);
    }
  }
  if (input.kwargs.is_null()) return {};
  if (!input.kwargs.is_object()) return bad_input("the template variables must be an object");
  for (const char* name : {"messages", "tools"}) {
    if (input.kwargs.contains(name)) {
      return bad_input("the template variables can't contain '{}': give it by itself", name);
    }
  }
  return {};
}

// Throws nlohmann's type_error if a string is no UTF-8.
std::string variables_of(const ChatInput& input, const std::string& bos, const std::string& eos) {
  Json variables = Json::object();
  Json& messages = variables["messages"] = Json::array();
  for (const Json& message : input.messages) {
    const Json* reasoning = reasoning_of(message);
    messages.push_back(reasoning ? with_reasoning_names(message, *reasoning) : message);
  }
  variables["tools"] = input.tools;
  variables["documents"] = nullptr;
  variables["add_generation_prompt"] = input.add_generation_prompt;
  if (!bos.empty()) variables["bos_token"] = bos;
  if (!eos.empty()) variables["eos_token"] = eos;
  if (input.kwargs.is_object()) {
    for (const auto& [key, value] : input.kwargs.items()) variables[key] = value;
  }
  return variables.dump();
}

struct FreeTemplate {
  void operator()(FarthingTemplate* compiled) const { farthing_template_free(compiled); }
};

}  // namespace

struct ChatTemplate::Impl {
  std::unique_ptr<FarthingTemplate, FreeTemplate> compiled;
  std::string bos;
  std::string eos;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

Result<ChatTemplate> ChatTemplate::compile(std::string source, std::string bos, std::string eos) {
  FarthingTemplate* compiled = nullptr;
  FarthingBytes error{};
  if (!farthing_template_compile(bytes_of(source), source.size(), &compiled, &error)) {
    return bad_input("{}", printable(take(error), kMostOfAnError));
  }
  auto impl = std::make_unique<Impl>();
  impl->compiled.reset(compiled);
  impl->bos = std::move(bos);
  impl->eos = std::move(eos);
  return ChatTemplate(std::move(impl));
}

Result<std::string> ChatTemplate::render(const ChatInput& input) const {
  FARTHING_TRY_VOID(check_shape(input));
  std::string variables;
  try {
    variables = variables_of(input, impl_->bos, impl_->eos);
  } catch (const Json::exception& error) {
    return bad_input("messages, tools or template variables hold text that is no UTF-8: {}",
                     error.what());
  }
  const std::string now = input.now ? *input.now : local_time();
  FarthingBytes text{};
  FarthingBytes error{};
  if (!farthing_template_render(impl_->compiled.get(),
                                bytes_of(variables),
                                variables.size(),
                                bytes_of(now),
                                now.size(),
                                &text,
                                &error)) {
    return bad_input("{}", printable(take(error), kMostOfAnError));
  }
  return take(text);
}

}  // namespace farthing
