// A Backend without a model: bytes are tokens, and what the prompt says decides how the answer
// comes.
//   "hold"   nothing comes until the request is cancelled or its deadline passes
//   "slow"   a token every 5 ms
//   "flood"  every token is 64 KiB of text
//   "broken" the request ends with an error after one token
// Anything else is answered with kAnswer at once, cut at max_tokens.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "serve/backend.h"

namespace farthing {

class FakeBackend final : public Backend {
 public:
  static constexpr TokenId kBos = 256;
  static constexpr TokenId kEnd = 257;
  static constexpr std::string_view kAnswer = "Grüße, \"world\"!\n";

  FakeBackend() {
    info_ = {.id = "fake-model",
             .description = "fake 1M F32",
             .fingerprint = "fp_1",
             .context = 4096,
             .vocab_size = 258,
             .bos = kBos,
             .n_parameters = 1000000,
             .file_bytes = 4000000,
             .has_chat_template = true};
    for (int b = 0; b < 256; ++b) pieces_.emplace_back(1, static_cast<char>(b));
    pieces_.emplace_back("<s>");
    pieces_.emplace_back("</s>");
    thread_ = std::thread([this] { loop(); });
  }
  ~FakeBackend() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

  ModelInfo& mutable_info() { return info_; }
  // Before anybody else uses the backend.
  Progress& mutable_progress() { return progress_; }
  Progress progress() const override { return progress_; }
  EngineMetrics& mutable_metrics() { return metrics_; }
  EngineMetrics metrics() const override { return metrics_; }
  std::optional<MachinePrice>& mutable_price() { return price_; }
  const std::optional<MachinePrice>& price() const override { return price_; }
  const ModelInfo& info() const override { return info_; }

  Result<std::vector<TokenId>> encode(std::string_view text,
                                      bool add_special,
                                      bool parse_special) const override {
    std::vector<TokenId> out;
    if (add_special) out.push_back(kBos);
    for (size_t i = 0; i < text.size(); ++i) {
      if (parse_special && text.substr(i).starts_with("</s>")) {
        out.push_back(kEnd);
        i += 3;
      } else {
        out.push_back(static_cast<unsigned char>(text[i]));
      }
    }
    return out;
  }
  Result<std::string> decode(std::span<const TokenId> ids, bool skip_special) const override {
    std::string out;
    for (const TokenId id : ids) {
      if (id < 0 || id >= info_.vocab_size) return bad_input("token id {} is unknown", id);
      if (id < kBos || !skip_special) out += pieces_[static_cast<size_t>(id)];
    }
    return out;
  }
  std::string_view piece(TokenId id) const override { return pieces_[static_cast<size_t>(id)]; }
  Result<std::string> render_chat(ChatInput input) const override {
    std::string out;
    for (const Json& message : input.messages) {
      const Json& content = message["content"];
      if (content == "raise") return bad_input("the template says no");
      out += message["role"].get<std::string>() + ":" +
             (content.is_string() ? content.get<std::string>() : "") + "\n";
    }
    if (input.kwargs.is_object()) out += input.kwargs.dump() + "\n";
    return out + (input.add_generation_prompt ? "assistant:" : "");
  }
  Result<std::vector<TokenId>> chat_prompt(ChatInput input) const override {
    FARTHING_TRY(const std::string text, render_chat(std::move(input)));
    return encode(text, true, false);
  }

  Result<RequestId> submit(Request request, Sink sink) override {
    const std::lock_guard lock(mutex_);
    if (request.sampling.temperature == 1.5f) return usage_error("1.5 is what this test refuses");
    const RequestId id{++n_submitted_};
    std::string prompt;
    for (const TokenId token : request.prompt) {
      if (token < kBos) prompt += static_cast<char>(token);
    }
    jobs_.emplace(id, Job{std::move(request), std::move(sink), std::move(prompt)});
    wake_.notify_all();
    return id;
  }
  void cancel(RequestId id) override {
    const std::lock_guard lock(mutex_);
    if (const auto at = jobs_.find(id); at != jobs_.end() && !ignore_cancels_) {
      at->second.cancelled = true;
      ++n_cancelled_;
    }
    wake_.notify_all();
  }

  void ignore_cancels() {
    const std::lock_guard lock(mutex_);
    ignore_cancels_ = true;
  }

  size_t n_running() const {
    const std::lock_guard lock(mutex_);
    return jobs_.size();
  }
  uint32_t n_submitted() const {
    const std::lock_guard lock(mutex_);
    return n_submitted_;
  }
  int n_cancelled() const {
    const std::lock_guard lock(mutex_);
    return n_cancelled_;
  }

 private:
  struct Job {
    Request request;
    Sink sink;
    std::string prompt;
    int32_t n_done = 0;  // tokens of each sample
    bool cancelled = false;
    TimePoint next{};
    bool says(std::string_view word) const { return prompt.find(word) != std::string::npos; }
  };

  void loop() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      const TimePoint now = Clock::now();
      for (auto at = jobs_.begin(); at != jobs_.end();) {
        at = step(at->first, at->second, now) ? jobs_.erase(at) : std::next(at);
      }
      wake_.wait_for(lock, std::chrono::milliseconds(jobs_.empty() ? 1000 : 1));
    }
  }

  // One step of one request; true: it has ended.
  bool step(RequestId id, Job& job, TimePoint now) {
    if (job.cancelled) return end(id, job, FinishReason::kCancelled);
    if (job.request.deadline && now > *job.request.deadline) {
      return end(id, job, FinishReason::kDeadline);
    }
    if (job.says("hold") || now < job.next) return false;
    if (job.says("slow")) job.next = now + std::chrono::milliseconds(5);
    const bool endless = job.says("flood") || job.says("slow");
    do {
      if (job.n_done >= job.request.max_tokens) return end(id, job, FinishReason::kLength);
      if (!endless && job.n_done >= static_cast<int32_t>(kAnswer.size())) {
        return end(id, job, FinishReason::kStop);
      }
      emit(id, job);
      if (job.says("broken")) {
        job.sink(RequestEnd{.request = id, .error = runtime_failure("the disk is on fire")});
        return true;
      }
    } while (!endless);
    return false;
  }

  void emit(RequestId id, Job& job) {
    const char c = kAnswer[static_cast<size_t>(job.n_done) % kAnswer.size()];
    const auto token = static_cast<TokenId>(static_cast<unsigned char>(c));
    for (int32_t sample = 0; sample < job.request.n; ++sample) {
      TokenEvent event{.request = id, .sample = static_cast<uint32_t>(sample), .token = token};
      // Two-byte characters: the first byte gives no text, the second one both.
      const bool lead = (token & 0xE0) == 0xC0;
      const bool trail = (token & 0xC0) == 0x80;
      if (job.says("flood")) {
        event.text = std::string(64 << 10, 'x');
      } else if (trail) {
        event.text = kAnswer.substr(static_cast<size_t>(job.n_done) % kAnswer.size() - 1, 2);
      } else if (!lead) {
        event.text = std::string(1, c);
      }
      if (job.request.sampling.logprobs >= 0) {
        event.logprob = TokenLogprob{token, -0.5f};
        for (int32_t k = 0; k < job.request.sampling.logprobs; ++k) {
          event.top.push_back({token + k, -0.5f - static_cast<float>(k)});
        }
      }
      job.sink(std::move(event));
    }
    ++job.n_done;
  }

  static bool end(RequestId id, Job& job, FinishReason reason) {
    for (int32_t sample = 0; sample < job.request.n; ++sample) {
      job.sink(SampleEnd{id, static_cast<uint32_t>(sample), reason, ""});
    }
    RequestEnd last{.request = id};
    last.usage = {.prompt_tokens = static_cast<int32_t>(job.request.prompt.size()),
                  .cached_tokens = 0,
                  .completion_tokens = job.n_done * job.request.n};
    last.timings = {.queue_seconds = 0.001,
                    .prefill_seconds = 0.5,
                    .decode_seconds = 0.25,
                    .total_seconds = 0.751,
                    .prompt_busy_seconds = 0.5,
                    .completion_busy_seconds = 0.125};
    last.timeline.finish = reason;
    job.sink(std::move(last));
    return true;
  }

  ModelInfo info_;
  Progress progress_;
  EngineMetrics metrics_;
  std::optional<MachinePrice> price_;
  std::vector<std::string> pieces_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::map<RequestId, Job> jobs_;  // guarded by mutex_
  bool stopping_ = false;
  bool ignore_cancels_ = false;
  uint32_t n_submitted_ = 0;
  int n_cancelled_ = 0;
  std::thread thread_;
};

}  // namespace farthing
