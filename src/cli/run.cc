// The verb `run`: one answer to a prompt, or a chat on the terminal.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include "base/mapped_file.h"
#include "base/utf8.h"
#include "cli/chat.h"
#include "cli/io.h"
#include "cli/limits.h"
#include "cli/run_options.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "serve/api_response.h"
#include "serve/json_text.h"

namespace farthing {
namespace {

uint64_t random_seed() {
  std::random_device device;
  // 32 bits: easy to type again.
  return device();
}

// The prompt, or none: then it is a chat. One newline at the end of a file or pipe is the shell's,
// not the user's.
Result<std::optional<std::string>> find_prompt(const RunOptions& options) {
  std::string text;
  if (options.prompt) {
    text = *options.prompt;
  } else if (!options.file.empty() && options.file != "-") {
    FARTHING_TRY(text, read_file(options.file, kMostInputBytes));
    if (text.ends_with('\n')) text.pop_back();
  } else if (options.file == "-" || !is_terminal(STDIN_FILENO)) {
    FARTHING_TRY(text, read_stdin());
    if (text.ends_with('\n')) text.pop_back();
  } else {
    return std::optional<std::string>();
  }
  if (text.empty()) return usage_error("the prompt is empty: give some text, --file or a pipe");
  if (const size_t good = utf8_valid_prefix(text); good < text.size())
    return bad_input("the prompt is no UTF-8 text at byte offset {}", good);
  return std::optional(std::move(text));
}

std::string answer_json(const Answer& answer,
                        const std::optional<MachinePrice>& price,
                        const std::optional<DecodeUse>& use,
                        uint64_t seed) {
  const std::string cost = price ? cost_json(*price, answer.usage, answer.timings) : std::string();
  std::string json = "{\"text\":";
  append_json_string(json, answer.text);
  json += fmt::format(
      ",\"finish_reason\":\"{}\",\"usage\":{},\"timings\":{},\"limits\":{},\"seed\":{}}}\n",
      finish_reason_name(answer.reason),
      usage_json(answer.usage, cost),
      timings_json(answer.usage, answer.timings),
      use ? limit_json(*use).dump() : "null",
      seed);
  return json;
}

Result<std::vector<TokenId>> prompt_tokens(const Session& session,
                                           const RunOptions& options,
                                           const std::string& text) {
  if (!session.uses_template()) return session.plain_tokens(text);
  Json messages = Json::array();
  if (!options.system.empty())
    messages.push_back({{"role", "system"}, {"content", options.system}});
  messages.push_back({{"role", "user"}, {"content", text}});
  return session.chat_tokens(messages);
}

Status answer_once(Session& session, const RunOptions& options, const std::string& text) {
  FARTHING_TRY(std::vector<TokenId> tokens, prompt_tokens(session, options, text));
  const bool terminal = is_terminal(STDOUT_FILENO);
  FARTHING_TRY(const Answer answer, session.answer(std::move(tokens), [&](std::string_view piece) {
    if (options.json) return Status();
    return write_stdout(terminal ? terminal_text(piece) : std::string(piece));
  }));
  // Measured only for somebody who looks: a pipe waits for its end.
  std::optional<DecodeUse> use;
  if (options.json || is_terminal(STDERR_FILENO)) use = session.limits(answer);
  FARTHING_TRY_VOID(write_stdout(
      options.json ? answer_json(answer, session.price(), use, options.sampling.seed) : "\n"));
  const Style style = style_for(STDERR_FILENO);
  fmt::print(stderr,
             "{}{}{}",
             style.dim,
             session.statistics(answer) + (use ? limit_words(*use) : ""),
             style.reset);
  if (answer.reason == FinishReason::kCancelled) return Error{ErrorKind::kInterrupted, ""};
  return {};
}

Status run(RunOptions& options) {
  FARTHING_TRY_VOID(check_run_options(options));
  FARTHING_TRY(const std::optional<std::string> text, find_prompt(options));
  if (!text && options.json)
    return usage_error("--json needs a prompt: give one, or --file, or a pipe");
  options.sampling.seed = options.seed ? *options.seed : random_seed();
  FARTHING_TRY(Session session, Session::start(options));
  return text ? answer_once(session, options, *text) : chat(session, options.system);
}

}  // namespace

void add_run(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<RunOptions>();
  CLI::App* verb =
      add_verb(app, "run", "Answer a prompt, or chat on the terminal", exit_code, [options] {
        return run(*options);
      });
  add_run_options(*verb, *options);
}

}  // namespace farthing
