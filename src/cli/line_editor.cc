#include "cli/line_editor.h"

#include <histedit.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cwchar>
#include <utility>

namespace farthing {

struct LineEditor::Impl {
  std::string prompt;
  Interrupts* interrupts = nullptr;
  EditLine* editor = nullptr;
  History* history = nullptr;
  bool interrupted = false;

  ~Impl() {
    if (editor) el_end(editor);
    if (history) history_end(history);
  }
  // libedit's hooks: it hands back the pointer given as EL_CLIENTDATA.
  static Impl* of(EditLine* editor) {
    void* self = nullptr;
    el_get(editor, EL_CLIENTDATA, &self);
    return static_cast<Impl*>(self);
  }
  static char* show_prompt(EditLine* editor) { return of(editor)->prompt.data(); }
  static int read_character(EditLine* editor, wchar_t* out) {
    return of(editor)->read_character(out);
  }

  // 1: a character; 0: the end, or Ctrl-C.
  int read_character(wchar_t* out) {
    std::mbstate_t state{};
    for (;;) {
      pollfd fds[] = {{STDIN_FILENO, POLLIN, 0}, {interrupts->fd(), POLLIN, 0}};
      if (poll(fds, 2, -1) < 0 && errno != EINTR) return 0;
      if (interrupts->take()) {
        interrupted = true;
        return 0;
      }
      if (fds[0].revents == 0) continue;
      char byte;
      const ssize_t n = ::read(STDIN_FILENO, &byte, 1);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return 0;
      const size_t used = std::mbrtowc(out, &byte, 1, &state);
      if (used == static_cast<size_t>(-2)) continue;  // the character goes on
      if (used == static_cast<size_t>(-1)) {
        state = {};
        continue;  // no UTF-8: dropped
      }
      return 1;
    }
  }
};

Result<LineEditor> LineEditor::create(std::string prompt, Interrupts& interrupts) {
  // libedit reads characters by the locale; only their encoding is taken over, not the form of
  // numbers.
  std::setlocale(LC_CTYPE, "");
  if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
  auto impl = std::make_unique<Impl>();
  impl->prompt = std::move(prompt);
  impl->interrupts = &interrupts;
  impl->editor = el_init("farthing", stdin, stderr, stderr);
  impl->history = history_init();
  if (!impl->editor || !impl->history)
    return runtime_failure("the line editor can't start on this terminal");
  HistEvent ignored;
  history(impl->history, &ignored, H_SETSIZE, 1000);
  history(impl->history, &ignored, H_SETUNIQUE, 1);
  el_set(impl->editor, EL_CLIENTDATA, impl.get());
  el_set(impl->editor, EL_PROMPT, &Impl::show_prompt);
  el_set(impl->editor, EL_EDITOR, "emacs");
  el_set(impl->editor, EL_HIST, &::history, impl->history);
  el_set(impl->editor, EL_GETCFN, static_cast<int (*)(EditLine*, wchar_t*)>(&Impl::read_character));
  return LineEditor(std::move(impl));
}

LineEditor::LineEditor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LineEditor::LineEditor(LineEditor&&) noexcept = default;
LineEditor& LineEditor::operator=(LineEditor&&) noexcept = default;
LineEditor::~LineEditor() = default;

LineEditor::Line LineEditor::read() {
  impl_->interrupted = false;
  int length = 0;
  const char* text = el_gets(impl_->editor, &length);
  if (impl_->interrupted) {
    const LineInfo* open = el_line(impl_->editor);
    Line line{Outcome::kInterrupted, std::string(open->buffer, open->lastchar)};
    el_reset(impl_->editor);
    std::fputs("\n", stderr);
    return line;
  }
  if (!text || length <= 0) return {};
  std::string line(text, static_cast<size_t>(length));
  if (line.ends_with('\n')) line.pop_back();
  if (!line.empty()) {
    HistEvent ignored;
    history(impl_->history, &ignored, H_ENTER, line.c_str());
  }
  return {Outcome::kLine, std::move(line)};
}

}  // namespace farthing
