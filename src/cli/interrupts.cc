#include "cli/interrupts.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace farthing {

Result<Interrupts> Interrupts::create() {
  Interrupts made;
  sigset_t interrupt;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  const int fd = signalfd(-1, &interrupt, SFD_NONBLOCK | SFD_CLOEXEC);
  if (fd < 0) return runtime_failure("signalfd: {}", std::strerror(errno));
  made.fd_ = fd;
  pthread_sigmask(SIG_BLOCK, &interrupt, &made.before_);
  return made;
}

Interrupts::Interrupts(Interrupts&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), before_(other.before_) {}

Interrupts::~Interrupts() {
  if (fd_ < 0) return;
  take();  // one that is pending would end the program when it is unblocked
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  close(fd_);
}

bool Interrupts::take() {
  bool any = false;
  signalfd_siginfo info;
  while (read(fd_, &info, sizeof(info)) == sizeof(info)) any = true;
  return any;
}

}  // namespace farthing
