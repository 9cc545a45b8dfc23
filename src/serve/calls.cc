#include "serve/calls.h"

#include <algorithm>
#include <cmath>
#include <mutex>

namespace farthing {

namespace {

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

std::vector<std::pair<size_t, Event>> RunningCall::take() {
  inbox_bytes = 0;
  return std::exchange(inbox, {});
}

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
                                                                  std::function<void()> wake,
                                                                  TimePoint now) {
  const int samples = call.n_choices();
  // A call alone is always let in: else one with more samples than the queue is long could never
  // run.
  if (n_samples_ > 0 && n_samples_ + samples > limits_.max_seqs + limits_.max_queue) {
    return ApiError{
        .status = 503,
        .message = fmt::format("the queue is full: {} samples run or wait, at most {} may "
                               "(--max-seqs + --max-queue); try again later",
                               n_samples_,
                               limits_.max_seqs + limits_.max_queue),
        .code = "queue_full",
        .retry_after_seconds = retry_after_seconds()};
  }
  auto running = std::make_shared<RunningCall>();
  running->call = std::move(call);
  running->started = now;
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
        n_samples_ += running->call.n_choices();
        running_.push_back(running);
      }
      return to_api_error(id.error(), "");
    }
    running->ids.push_back(*id);
  }
  n_samples_ += samples;
  running_.push_back(running);
  return running;
}

int Calls::retry_after_seconds() const {
  const double waves = static_cast<double>(n_samples_) / std::max(1, limits_.max_seqs);
  return static_cast<int>(std::clamp(std::ceil(mean_seconds_ * waves), 1.0, 60.0));
}

void Calls::cancel(const RunningCall& call) {
  for (const RequestId id : call.ids) backend_.cancel(id);
}

void Calls::abandon(RunningCall& call) {
  call.abandoned = true;
  call.wake = nullptr;
  call.take();
  cancel(call);
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
    call->inbox_bytes += bytes_of(event);
    call->inbox.emplace_back(prompt, std::move(event));
    if (call->inbox_bytes > limits_.max_pending_bytes) {
      call->overflowed = true;
      cancel(*call);
    }
  }
  if (ended && ++call->n_ended == call->call.requests.size()) finish(call);
}

void Calls::finish(const std::shared_ptr<RunningCall>& call) {
  constexpr double kWeight = 0.2;
  mean_seconds_ += kWeight * (seconds_between(call->started, Clock::now()) - mean_seconds_);
  n_samples_ -= call->call.n_choices();
  std::erase(running_, call);
  if (running_.empty() && on_idle_) on_idle_();
}

}  // namespace farthing
