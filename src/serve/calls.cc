#include "serve/calls.h"

#include <algorithm>
#include <cmath>
#include <mutex>

namespace farthing {

namespace {

// A call with so little waiting is never cut off for what others leave.
constexpr size_t kFewPendingBytes = 64u << 10;

size_t bytes_of(const Event& event) {
  size_t bytes = sizeof(Event);
  if (const auto* token = std::get_if<TokenEvent>(&event)) {
    bytes += token->text.size() + token->top.size() * sizeof(TokenLogprob);
  } else if (const auto* end = std::get_if<SampleEnd>(&event)) {
    bytes += end->text.size();
  }
  return bytes;
}

}  // namespace

struct Calls::Mailbox {
  struct Letter {
    std::shared_ptr<RunningCall> call;
    size_t prompt;
    Event event;
  };

  std::mutex mutex;
  std::vector<Letter> letters;  // guarded by mutex
  Calls* owner = nullptr;       // guarded by mutex; null once the owner is gone
  Post post;                    // called under the mutex, so never after the owner is gone

  void push(const std::shared_ptr<RunningCall>& call, size_t prompt, Event event) {
    const std::lock_guard lock(mutex);
    if (!owner) return;
    const bool wake = letters.empty();
    letters.push_back({call, prompt, std::move(event)});
    if (wake) post([calls = owner] { calls->deliver(); });
  }
};

Calls::Calls(Backend& backend, CallLimits limits, Post post)
    : backend_(backend), limits_(limits), mailbox_(std::make_shared<Mailbox>()) {
  mailbox_->owner = this;
  mailbox_->post = std::move(post);
}

Calls::~Calls() {
  const std::lock_guard lock(mailbox_->mutex);
  mailbox_->owner = nullptr;
  mailbox_->letters.clear();
}

std::variant<std::shared_ptr<RunningCall>, ApiError> Calls::start(ApiCall call,
                                                                  std::function<void()> wake) {
  const int samples = call.n_choices();
  if (auto error = too_many(call)) return *std::move(error);
  if (auto error = refusal(samples, call.requests.front().caller)) return *std::move(error);
  auto running = std::make_shared<RunningCall>();
  running->call = std::move(call);
  running->wake = std::move(wake);
  for (size_t i = 0; i < running->call.requests.size(); ++i) {
    auto id =
        backend_.submit(running->call.requests[i], [mailbox = mailbox_, running, i](Event event) {
          mailbox->push(running, i, std::move(event));
        });
    if (!id) {
      abandon(*running);
      // Those already submitted still have to end before their samples are free again.
      running->call.requests.resize(running->ids.size());
      if (!running->ids.empty()) {
        enter(running);
      }
      return to_api_error(id.error(), "");
    }
    running->ids.push_back(*id);
  }
  enter(running);
  return running;
}

void Calls::enter(const std::shared_ptr<RunningCall>& call) {
  n_samples_ += call->call.n_choices();
  n_by_caller_[call->call.requests.front().caller] += call->call.n_choices();
  running_.push_back(call);
}

// However long it waited, there would never be room for it.
std::optional<ApiError> Calls::too_many(const ApiCall& call) const {
  const bool by_caller = limits_.max_per_caller > 0 && limits_.max_per_caller < room();
  const int most = by_caller ? limits_.max_per_caller : room();
  if (call.n_choices() <= most) return std::nullopt;
  return ApiError{.status = 400,
                  .message = fmt::format("the call asks for {} samples (prompts times n), but at "
                                         "most {} may run or wait ({}): ask for fewer at a time",
                                         call.n_choices(),
                                         most,
                                         by_caller ? "--max-per-key" : "--max-seqs + --max-queue"),
                  .param = call.n > 1 ? "n" : "prompt",
                  .code = "too_many_samples"};
}

std::optional<ApiError> Calls::refusal(int samples, uint64_t caller) const {
  const auto retry_after = [&](int n_ahead) {
    return static_cast<int>(std::clamp(std::ceil(predicted_wait(n_ahead)), 1.0, 60.0));
  };
  const auto mine = n_by_caller_.find(caller);
  const int n_mine = mine == n_by_caller_.end() ? 0 : mine->second;
  if (limits_.max_per_caller > 0 && n_mine + samples > limits_.max_per_caller) {
    return ApiError{.status = 429,
                    .message = fmt::format("this API key has {} samples that run or wait, and at "
                                           "most {} may (--max-per-key); try again later",
                                           n_mine,
                                           limits_.max_per_caller),
                    .code = "rate_limit_exceeded",
                    .retry_after_seconds = retry_after(n_mine)};
  }
  if (n_samples_ + samples > room()) {
    return ApiError{.status = 503,
                    .message = fmt::format("the queue is full: {} samples run or wait, at most {} "
                                           "may (--max-seqs + --max-queue); try again later",
                                           n_samples_,
                                           room()),
                    .code = "queue_full",
                    .retry_after_seconds = retry_after(n_samples_)};
  }
  if (const double wait = predicted_wait(n_samples_);
      limits_.max_wait > 0 && wait > limits_.max_wait) {
    return ApiError{.status = 503,
                    .message = fmt::format("the answer would begin in {:.1f} s, and at most {:g} s "
                                           "are allowed (--max-wait); try again later",
                                           wait,
                                           limits_.max_wait),
                    .code = "queue_full",
                    .retry_after_seconds = retry_after(n_samples_)};
  }
  return std::nullopt;
}

// As many of those ahead must end as there are too many, and each is the same part of all the work.
double Calls::predicted_wait(int n_ahead) const {
  const int n_must_end = n_ahead - std::max(1, limits_.max_seqs) + 1;
  if (n_must_end <= 0) return 0;
  const Backlog backlog = backend_.metrics().backlog;
  return n_must_end * backlog.seconds / std::max(1, backlog.n_sequences);
}

void Calls::cancel(const RunningCall& call) {
  for (const RequestId id : call.ids) backend_.cancel(id);
}

std::vector<std::pair<size_t, Event>> Calls::take(RunningCall& call) {
  pending_bytes_ -= std::exchange(call.inbox_bytes, 0);
  return std::exchange(call.inbox, {});
}

void Calls::abandon(RunningCall& call) {
  call.abandoned = true;
  call.wake = nullptr;
  take(call);
  if (call.n_ended < call.call.requests.size()) cancel(call);
}

void Calls::cancel_all() {
  for (const auto& call : running_) cancel(*call);
}

void Calls::deliver() {
  std::vector<Mailbox::Letter> letters;
  {
    const std::lock_guard lock(mailbox_->mutex);
    letters.swap(mailbox_->letters);
  }
  std::vector<std::shared_ptr<RunningCall>> touched;
  for (Mailbox::Letter& letter : letters) {
    if (touched.empty() || touched.back() != letter.call) touched.push_back(letter.call);
    deliver_one(letter.call, letter.prompt, std::move(letter.event));
  }
  for (const auto& call : touched) {
    if (call->wake) call->wake();
  }
}

void Calls::deliver_one(const std::shared_ptr<RunningCall>& call, size_t prompt, Event event) {
  const bool ended = std::holds_alternative<RequestEnd>(event);
  if (!call->abandoned && !call->overflowed) {
    const size_t bytes = bytes_of(event);
    call->inbox_bytes += bytes;
    pending_bytes_ += bytes;
    call->inbox.emplace_back(prompt, std::move(event));
    const bool too_much_of_all =
        pending_bytes_ > limits_.max_pending_of_all && call->inbox_bytes > kFewPendingBytes;
    if (call->inbox_bytes > limits_.max_pending_bytes || too_much_of_all) {
      call->overflowed = true;
      cancel(*call);
    }
  }
  if (ended && ++call->n_ended == call->call.requests.size()) finish(call);
}

void Calls::finish(const std::shared_ptr<RunningCall>& call) {
  n_samples_ -= call->call.n_choices();
  const auto mine = n_by_caller_.find(call->call.requests.front().caller);
  mine->second -= call->call.n_choices();
  if (mine->second == 0) n_by_caller_.erase(mine);
  std::erase(running_, call);
  if (running_.empty() && on_idle_) on_idle_();
}

}  // namespace farthing
