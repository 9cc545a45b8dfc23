#include "cli/generation.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

namespace farthing {
namespace {

// Owns: the events on their way from the engine's thread to this one, and the descriptor that says
// so.
class EventQueue {
 public:
  EventQueue() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  ~EventQueue() {
    if (fd_ >= 0) close(fd_);
  }
  EventQueue(const EventQueue&) = delete;
  EventQueue& operator=(const EventQueue&) = delete;

  int fd() const { return fd_; }

  void push(Event event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
    const uint64_t one = 1;
    // Can't fail: the counter would have to reach 2^64.
    [[maybe_unused]] const ssize_t written = write(fd_, &one, sizeof(one));
  }

  std::vector<Event> take() {
    const std::lock_guard lock(mutex_);
    uint64_t count;
    [[maybe_unused]] const ssize_t n = read(fd_, &count, sizeof(count));
    return std::exchange(events_, {});
  }

 private:
  int fd_;
  std::mutex mutex_;
  std::vector<Event> events_;
};

// Folds events into an answer.
class Listener {
 public:
  explicit Listener(const std::function<Status(std::string_view)>& show) : show_(show) {}

  void on(const Event& event) {
    if (const auto* token = std::get_if<TokenEvent>(&event)) {
      add(token->text);
    } else if (const auto* end = std::get_if<SampleEnd>(&event)) {
      answer.reason = end->reason;
      add(end->text);
    } else {
      const auto& last = std::get<RequestEnd>(event);
      answer.usage = last.usage;
      answer.timings = last.timings;
      if (last.error && !failure) failure = last.error;
      ended = true;
    }
  }

  Answer answer;
  std::optional<Error> failure;
  bool ended = false;

 private:
  void add(const std::string& text) {
    if (text.empty() || failure) return;
    answer.text += text;
    if (Status shown = show_(text); !shown) failure = std::move(shown).error();
  }

  const std::function<Status(std::string_view)>& show_;
};

}  // namespace

Result<Answer> generate(Engine& engine,
                        Request request,
                        Interrupts& interrupts,
                        const std::function<Status(std::string_view)>& show) {
  const auto queue = std::make_shared<EventQueue>();
  if (queue->fd() < 0) return runtime_failure("eventfd: {}", std::strerror(errno));
  Listener listener(show);
  FARTHING_TRY(const RequestId id, engine.submit(std::move(request), [queue](Event event) {
    queue->push(std::move(event));
  }));
  bool cancelled = false;
  bool interrupted = false;
  while (!listener.ended) {
    pollfd fds[] = {{queue->fd(), POLLIN, 0}, {interrupts.fd(), POLLIN, 0}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) CHECK(false);
    if (interrupts.take()) {
      // The terminal is as it was (no line editor is active here), so nothing needs an orderly end.
      if (interrupted) std::_Exit(static_cast<int>(ErrorKind::kInterrupted));
      interrupted = true;
    }
    for (const Event& event : queue->take()) listener.on(event);
    if ((interrupted || listener.failure) && !cancelled) {
      engine.cancel(id);
      cancelled = true;
    }
  }
  if (listener.failure) return *std::move(listener.failure);
  return std::move(listener.answer);
}

}  // namespace farthing
