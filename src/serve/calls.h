// Owns: the calls that run, and the mailbox that carries their events from the engine's thread to
// the HTTP thread with one wake-up per batch of events. Does not know: sockets, HTTP. Everything
// but the sinks is called on the HTTP thread. Invariant: a call counts as running from start()
// until every one of its requests has had its RequestEnd, also after its client left.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "serve/api_error.h"
#include "serve/api_request.h"
#include "serve/backend.h"

namespace farthing {

struct CallLimits {
  int max_seqs = 16;                      // what the engine runs at once
  int max_queue = 128;                    // samples that may wait beyond that
  int max_per_caller = 0;                 // samples of one API key that may run or wait; 0: all
  double max_wait = 0;                    // seconds that a new call may be going to wait; 0: any
  size_t max_pending_bytes = 4u << 20;    // events of one call that its reader hasn't taken
  size_t max_pending_of_all = 64u << 20;  // of all calls; then those with much are cut off
};

// One call that runs.
struct RunningCall {
  ApiCall call;
  std::vector<std::pair<size_t, Event>> inbox;  // prompt index and event, not yet taken
  size_t inbox_bytes = 0;
  size_t n_ended = 0;
  std::vector<RequestId> ids;
  bool abandoned = false;      // its events interest nobody any more
  bool overflowed = false;     // the reader was too slow
  std::function<void()> wake;  // set while a connection waits
};

class Calls {
 public:
  // `post` runs a function on the HTTP thread; it may be called from any thread until this is
  // destroyed.
  using Post = std::function<void(std::function<void()>)>;

  Calls(Backend& backend, CallLimits limits, Post post);
  ~Calls();  // events that come later are dropped
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  // 400 if it asks for more samples than may ever run and wait; 429 with Retry-After if this
  // caller's share is used up, 503 if the queue is full; else the engine's refusal, or the call
  // that now runs.
  std::variant<std::shared_ptr<RunningCall>, ApiError> start(ApiCall call,
                                                             std::function<void()> wake);
  // Why start() would refuse that many samples now.
  std::optional<ApiError> refusal(int samples, uint64_t caller) const;
  // The events that came since the last time.
  std::vector<std::pair<size_t, Event>> take(RunningCall& call);
  // Nobody waits for it any more: the engine drops its work within a step.
  void abandon(RunningCall& call);
  void cancel_all();  // every call ends as cancelled, and its connection sees that

  int n_samples() const { return n_samples_; }  // running or queued
  void on_idle(std::function<void()> callback) { on_idle_ = std::move(callback); }

 private:
  struct Mailbox;

  // Seconds until one sample more would begin, from what the engine has to do.
  double predicted_wait(int n_ahead) const;
  int room() const { return limits_.max_seqs + limits_.max_queue; }
  std::optional<ApiError> too_many(const ApiCall& call) const;
  void enter(const std::shared_ptr<RunningCall>& call);
  void cancel(const RunningCall& call);
  void deliver();
  void deliver_one(const std::shared_ptr<RunningCall>& call, size_t prompt, Event event);
  void finish(const std::shared_ptr<RunningCall>& call);

  Backend& backend_;
  CallLimits limits_;
  std::shared_ptr<Mailbox> mailbox_;  // shared with the sinks
  std::vector<std::shared_ptr<RunningCall>> running_;
  int n_samples_ = 0;
  size_t pending_bytes_ = 0;  // of all inboxes
  std::map<uint64_t, int> n_by_caller_;
  std::function<void()> on_idle_;
};

}  // namespace farthing
