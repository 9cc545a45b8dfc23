// Owns: Ctrl-C while it lives. SIGINT is blocked and becomes a readable descriptor, so that it is
// handled where a loop waits, not in a handler. Made before the threads that should inherit the
// mask.
#pragma once

#include <csignal>

#include "base/result.h"

namespace farthing {

class Interrupts {
 public:
  static Result<Interrupts> create();
  Interrupts(Interrupts&& other) noexcept;
  Interrupts& operator=(Interrupts&&) = delete;
  ~Interrupts();

  int fd() const { return fd_; }  // readable when Ctrl-C was pressed
  bool take();                    // whether it was since the last call; doesn't wait

 private:
  Interrupts() = default;
  int fd_ = -1;
  sigset_t before_{};
};

}  // namespace farthing
