// Owns: the terminal's input line, with editing and a history that lasts as long as the object
// (libedit). Does not know: chats.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "cli/interrupts.h"

namespace farthing {

class LineEditor {
 public:
  // The prompt is shown on standard error, so that standard output has answers only. `interrupts`
  // outlives this.
  static Result<LineEditor> create(std::string prompt, Interrupts& interrupts);
  LineEditor(LineEditor&&) noexcept;
  LineEditor& operator=(LineEditor&&) noexcept;
  ~LineEditor();

  enum class Outcome {
    kLine,
    kEnd,          // Ctrl-D on an empty line, or the terminal is gone
    kInterrupted,  // Ctrl-C; `text` is what stood in the line
  };
  struct Line {
    Outcome outcome = Outcome::kEnd;
    std::string text;  // without the newline
  };
  Line read();

 private:
  struct Impl;
  explicit LineEditor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace farthing
