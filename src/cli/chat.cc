#include "cli/chat.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "cli/io.h"
#include "cli/line_editor.h"
#include "cli/terminal.h"

namespace farthing {
namespace {

// Owns: the messages so far. Invariant: between turns they are a system message, if any, and whole
// turns.
class Conversation {
 public:
  Conversation(Session& session, std::string system)
      : session_(session), system_(std::move(system)) {
    clear();
  }

  void clear() {
    messages_ = Json::array();
    if (!system_.empty()) messages_.push_back({{"role", "system"}, {"content", system_}});
  }

  // One turn: what the model says goes to stdout, and into the history even when it was cut short.
  // If there is no answer at all (the context is full, say), the turn leaves no trace.
  Status say(const std::string& text) {
    if (!session_.uses_template()) {
      FARTHING_TRY(std::vector<TokenId> tokens, session_.plain_tokens(text));
      return show_answer(std::move(tokens)) ? Status() : Status(std::move(failure_));
    }
    messages_.push_back({{"role", "user"}, {"content", text}});
    Result<std::vector<TokenId>> tokens = session_.chat_tokens(messages_);
    if (!tokens) failure_ = tokens.error();
    if (!tokens || !show_answer(*std::move(tokens))) {
      messages_.erase(messages_.size() - 1);
      return std::move(failure_);
    }
    messages_.push_back({{"role", "assistant"}, {"content", answer_}});
    return {};
  }

 private:
  // False: failure_ says why.
  bool show_answer(std::vector<TokenId> tokens) {
    const bool terminal = is_terminal(STDOUT_FILENO);
    Result<Answer> answer = session_.answer(std::move(tokens), [terminal](std::string_view piece) {
      return write_stdout(terminal ? terminal_text(piece) : std::string(piece));
    });
    Status ended = write_stdout("\n");
    if (!answer || !ended) {
      failure_ = answer ? ended.error() : answer.error();
      return false;
    }
    const Style style = style_for(STDERR_FILENO);
    fmt::print(stderr, "{}{}{}\n", style.dim, session_.short_statistics(*answer), style.reset);
    answer_ = std::move(answer->text);
    return true;
  }

  Session& session_;
  std::string system_;
  Json messages_;
  std::string answer_;
  Error failure_;
};

enum class Command { kNone, kExit, kClear, kHelp };

Command command_of(const std::string& line) {
  if (line == "/exit" || line == "/quit") return Command::kExit;
  if (line == "/clear") return Command::kClear;
  return line == "/help" ? Command::kHelp : Command::kNone;
}

constexpr const char* kHelp =
    "/clear forgets the conversation, /exit or Ctrl-D leaves, Ctrl-C ends an answer\n";
constexpr const char* kLeaveHint = "Ctrl-C again, Ctrl-D or /exit leaves\n";

}  // namespace

Status chat(Session& session, const std::string& system) {
  FARTHING_TRY(LineEditor editor, LineEditor::create("> ", session.interrupts()));
  Conversation conversation(session, system);
  fmt::print(stderr, "{}; {}", session.model().description, kHelp);
  // One Ctrl-C leaves nothing: it may have been meant for an answer that ended just before.
  for (bool leaving = false;;) {
    const LineEditor::Line line = editor.read();
    if (line.outcome == LineEditor::Outcome::kInterrupted) {
      if (!line.text.empty()) continue;
      if (leaving) return Error{ErrorKind::kInterrupted, ""};
      leaving = true;
      fmt::print(stderr, "{}", kLeaveHint);
      continue;
    }
    leaving = false;
    if (line.outcome == LineEditor::Outcome::kEnd) {
      fmt::print(stderr, "\n");
      return {};
    }
    if (line.text.find_first_not_of(" \t") == std::string::npos) continue;
    switch (command_of(line.text)) {
      case Command::kExit:
        return {};
      case Command::kClear:
        conversation.clear();
        continue;
      case Command::kHelp:
        fmt::print(stderr, "{}", kHelp);
        continue;
      case Command::kNone:
        break;
    }
    Status said = conversation.say(line.text);
    if (said) continue;
    // Too long a conversation is no reason to lose it; a standard output that is gone is one to
    // leave.
    if (said.error().kind == ErrorKind::kRuntime) return said;
    fmt::print(stderr, "{} (/clear starts anew)\n", said.error().message);
  }
}

}  // namespace farthing
