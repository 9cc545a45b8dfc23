// The verb `apply-template`: a chat's messages to the text that the model is given.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/json.h"
#include "base/mapped_file.h"
#include "cli/io.h"
#include "cli/model_options.h"
#include "cli/tokenizer_file.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "text/chat_template.h"

namespace farthing {
namespace {

constexpr size_t kMostTemplateBytes = 1 << 20;
constexpr size_t kMostJsonBytes = 64 << 20;
constexpr int kMostJsonDepth = 256;

struct TemplateOptions {
  std::optional<std::string> model;
  std::string template_file;
  std::string messages;
  std::string tools;
  std::string kwargs;
  std::optional<std::string> now;
  bool no_generation_prompt = false;
};

// What a template is made of: its source, and the spellings of BOS and EOS if a model has them.
struct Source {
  std::string text;
  std::string bos;
  std::string eos;
};

Result<Source> find_source(const TemplateOptions& options) {
  if (options.model && !options.template_file.empty()) {
    return usage_error("--model and --template are both given: leave one out");
  }
  if (!options.template_file.empty()) {
    FARTHING_TRY(std::string text, read_file(options.template_file, kMostTemplateBytes));
    return Source{std::move(text), "", ""};
  }
  const std::string model = options.model.value_or("smollm2");
  FARTHING_TRY(Vocab vocab, open_vocab(model));
  if (vocab.chat_template.empty()) {
    return bad_input("{}: tokenizer.chat_template is missing: give one by --template", model);
  }
  const auto spelling = [&](std::optional<TokenId> id) {
    return id ? vocab.tokens[static_cast<size_t>(*id)] : "";
  };
  return Source{std::move(vocab.chat_template), spelling(vocab.bos), spelling(vocab.eos)};
}

// A JSON file of the wanted kind; null if no file is named.
Result<Json> read_json(const std::string& path,
                       const char* flag,
                       bool (Json::*is_wanted)() const noexcept,
                       const char* kind) {
  if (path.empty()) return Json();
  FARTHING_TRY(const std::string text, read_file(path, kMostJsonBytes));
  // The parser itself doesn't recurse, but what works on its result does.
  int depth_seen = 0;
  const auto watch = [&](int depth, Json::parse_event_t, Json&) {
    depth_seen = std::max(depth_seen, depth);
    return depth <= kMostJsonDepth;
  };
  Json json;
  try {
    json = Json::parse(text, watch);
  } catch (const Json::parse_error& error) {
    return bad_input("{} {}: no JSON at byte {}", flag, path, error.byte);
  }
  if (depth_seen > kMostJsonDepth)
    return bad_input("{} {}: nested deeper than {}", flag, path, kMostJsonDepth);
  if (!(json.*is_wanted)()) return bad_input("{} {}: must be {}", flag, path, kind);
  return json;
}

Status apply_template(const TemplateOptions& options) {
  if (options.messages.empty())
    return usage_error("--messages is missing: give a JSON file with a list of messages");
  FARTHING_TRY(Source source, find_source(options));
  ChatInput input{.add_generation_prompt = !options.no_generation_prompt, .now = options.now};
  FARTHING_TRY(input.messages,
               read_json(options.messages, "--messages", &Json::is_array, "a list of messages"));
  FARTHING_TRY(input.tools,
               read_json(options.tools, "--tools", &Json::is_array, "a list of tools"));
  FARTHING_TRY(input.kwargs, read_json(options.kwargs, "--kwargs", &Json::is_object, "an object"));
  FARTHING_TRY(
      const ChatTemplate chat,
      ChatTemplate::compile(std::move(source.text), std::move(source.bos), std::move(source.eos)));
  FARTHING_TRY(const std::string text, chat.render(input));
  return write_stdout(text);
}

}  // namespace

void add_apply_template(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<TemplateOptions>();
  CLI::App* verb = add_verb(app,
                            "apply-template",
                            "A chat's messages to the text a model is given",
                            exit_code,
                            [options] { return apply_template(*options); });
  verb->add_option("--model",
                   options->model,
                   "Take the template of this GGUF file, or of smollm2, gemma3 (default: smollm2)")
      ->type_name("FILE");
  verb->add_option("--template", options->template_file, "Take the template from a Jinja file")
      ->type_name("FILE");
  verb->add_option("--messages", options->messages, "JSON list of {role, content}")
      ->type_name("FILE");
  verb->add_option("--tools", options->tools, "JSON list of tools")->type_name("FILE");
  verb->add_option("--kwargs", options->kwargs, "JSON object with more variables")
      ->type_name("FILE");
  verb->add_option(
          "--now", options->now, "Local time that templates see, ISO 8601 (default: the clock)")
      ->type_name("TIME");
  verb->add_flag("--no-generation-prompt",
                 options->no_generation_prompt,
                 "Don't open the assistant's message");
}

}  // namespace farthing
