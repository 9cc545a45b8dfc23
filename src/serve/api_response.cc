#include "serve/api_response.h"

#include <algorithm>
#include <utility>

#include "econ/ledger.h"
#include "serve/json_text.h"

namespace farthing {

namespace {

std::string_view finish_name(FinishReason reason) {
  return reason == FinishReason::kLength ? "length" : "stop";
}

// A sample that was cut short is a failure of the whole call: the client must be able to tell.
std::optional<ApiError> cut_short(FinishReason reason) {
  if (reason == FinishReason::kDeadline) {
    return ApiError{.status = 504,
                    .message =
                        "the request's deadline passed (timeout_ms, or the server's "
                        "--request-timeout)",
                    .code = "deadline_exceeded"};
  }
  if (reason == FinishReason::kCancelled) {
    return ApiError{.status = 503,
                    .message = "the request was cancelled: the server is shutting down",
                    .code = "cancelled",
                    .retry_after_seconds = 5};
  }
  return std::nullopt;
}

double per_second(int32_t tokens, double seconds) {
  return seconds > 0 ? tokens / seconds : 0;
}

// Of guesses by their place in the draft, as far as there were any.
std::string places_json(const std::array<int32_t, kMostDraft>& counts, const DraftTimings& drafts) {
  std::string json;
  for (size_t i = 0; i < counts.size() && drafts.drafted_at[i] > 0; ++i)
    json += fmt::format("{}{}", i == 0 ? "" : ",", counts[i]);
  return "[" + json + "]";
}

std::string draft_timings_json(const DraftTimings& drafts) {
  if (drafts.drafted_tokens == 0) return {};
  return fmt::format(
      ",\"draft_n\":{},\"draft_n_accepted\":{},\"draft_n_by_place\":{},"
      "\"draft_n_accepted_by_place\":{},\"predicted_per_step\":{:.3f},\"draft_speedup\":{:.3f}",
      drafts.drafted_tokens,
      drafts.accepted_tokens,
      places_json(drafts.drafted_at, drafts),
      places_json(drafts.accepted_at, drafts),
      drafts.tokens_per_step(),
      drafts.speedup());
}

}  // namespace

ApiResponse::ApiResponse(const ApiCall& call,
                         const Backend& backend,
                         std::string id,
                         int64_t created)
    : call_(call), backend_(backend), id_(std::move(id)) {
  std::string_view object = "text_completion";
  if (call.kind == ApiKind::kChat) {
    object = call.stream ? "chat.completion.chunk" : "chat.completion";
  }
  head_ = "{\"id\":";
  append_json_string(head_, id_);
  fmt::format_to(
      std::back_inserter(head_), ",\"object\":\"{}\",\"created\":{},\"model\":", object, created);
  append_json_string(head_, backend.info().id);
  head_ += ",\"system_fingerprint\":";
  append_json_string(head_, backend.info().fingerprint);
  for (int i = 0; i < call.n_choices(); ++i) {
    const auto prompt = static_cast<size_t>(i / call.n);
    const std::string_view echo = call.echo.empty() ? std::string_view() : call.echo[prompt];
    LogprobText logprobs(call, backend, call.logprobs ? 0 : count_characters(echo));
    if (call.logprobs && !call.echo.empty())
      logprobs.begin_prompt(call.requests[prompt].prompt.front(), echo);
    choices_.emplace_back(std::move(logprobs)).text = echo;
  }
  for (const Request& request : call.requests) {
    usage_.prompt_tokens += static_cast<int32_t>(request.prompt.size());
  }
}

void ApiResponse::add(size_t prompt, const Event& event, std::string* out) {
  if (finished()) return;
  if (const auto* token = std::get_if<TokenEvent>(&event)) {
    on_token(prompt, *token, out);
  } else if (const auto* end = std::get_if<SampleEnd>(&event)) {
    on_sample_end(prompt, *end, out);
  } else {
    on_request_end(std::get<RequestEnd>(event), out);
  }
}

void ApiResponse::on_token(size_t prompt, const TokenEvent& event, std::string* out) {
  const size_t index = prompt * static_cast<size_t>(call_.n) + event.sample;
  Choice& choice = choices_[index];
  if (call_.logprobs) choice.logprobs.add(event);
  if (!call_.stream)
    held_bytes_ += event.text.size() + (event.logprob ? 64 * (1 + event.top.size()) : 0);
  if (event.of_prompt) return;
  has_token_ = true;
  ++choice.n_tokens;
  ++usage_.completion_tokens;
  choice.text += event.text;
  if (call_.stream) {
    // A token without text (half a character, a held-back stop string, a control token) waits for
    // the next one.
    if (!choice.text.empty()) send_text(index, out);
  }
}

void ApiResponse::on_sample_end(size_t prompt, const SampleEnd& event, std::string* out) {
  const size_t index = prompt * static_cast<size_t>(call_.n) + event.sample;
  if (auto error = cut_short(event.reason)) {
    cut_short_ = std::move(error);  // told with the request's end, which has the timings
    return;
  }
  Choice& choice = choices_[index];
  choice.text += event.text;
  choice.finish = event.reason;
  ++n_finished_;
  if (!call_.stream) return;
  if (!choice.text.empty()) send_text(index, out);
  if (n_finished_ < choices_.size()) {
    send_finish(index, "", out);
  } else {
    last_finish_ = index;
  }
}

void ApiResponse::on_request_end(const RequestEnd& event, std::string* out) {
  if (event.error) return fail(to_api_error(*event.error, ""), out);
  ++n_ended_;
  counted_tokens_ += event.usage.completion_tokens;
  usage_.cached_tokens += event.usage.cached_tokens;
  usage_.cache_miss = event.usage.cache_miss;
  timings_.queue_seconds = std::max(timings_.queue_seconds, event.timings.queue_seconds);
  timings_.total_seconds = std::max(timings_.total_seconds, event.timings.total_seconds);
  timings_.prefill_seconds += event.timings.prefill_seconds;
  timings_.decode_seconds += event.timings.decode_seconds;
  timings_.prompt_busy_seconds += event.timings.prompt_busy_seconds;
  timings_.completion_busy_seconds += event.timings.completion_busy_seconds;
  timings_.drafts += event.timings.drafts;
  const Timeline& timeline = event.timeline;
  for (size_t i = 0; i < kWaitReasonCount; ++i)
    timeline_.waited[i] = std::max(timeline_.waited[i], timeline.waited[i]);
  timeline_.n_preempted += timeline.n_preempted;
  timeline_.n_prefill_steps += timeline.n_prefill_steps;
  for (size_t i = 0; i < kSliceCutCount; ++i) timeline_.cuts[i] += timeline.cuts[i];
  timeline_.longest_gap_seconds =
      std::max(timeline_.longest_gap_seconds, timeline.longest_gap_seconds);
  timeline_.finish = timeline.finish;
  if (cut_short_) return fail(*std::move(cut_short_), out);
  if (n_ended_ < call_.requests.size()) return;
  if (n_finished_ < choices_.size()) {
    return fail({.status = 500,
                 .message = "the engine ended a request without finishing all of its samples",
                 .code = "internal_error"},
                out);
  }
  usage_.completion_tokens = counted_tokens_;  // the engine's count is the one that holds
  if (call_.stream) send_end(out);
}

void ApiResponse::fail(ApiError error, std::string* out) {
  failure_ = std::move(error);
  if (!call_.stream) return;
  *out += "data: ";
  *out += error_json(*failure_);
  *out += "\n\n";
}

void ApiResponse::send_text(size_t index, std::string* out) {
  Choice& choice = choices_[index];
  std::string body = fmt::format("[{{\"index\":{},", index);
  if (call_.kind == ApiKind::kChat) {
    body += choice.started ? "\"delta\":{\"content\":"
                           : "\"delta\":{\"role\":\"assistant\",\"content\":";
    append_json_string(body, choice.text);
    body += '}';
  } else {
    body += "\"text\":";
    append_json_string(body, choice.text);
  }
  fmt::format_to(std::back_inserter(body),
                 ",\"logprobs\":{},\"finish_reason\":null}}]",
                 choice.logprobs.take());
  choice.text.clear();
  choice.started = true;
  send_chunk(body, "", out);
}

void ApiResponse::send_finish(size_t index, std::string_view extra, std::string* out) {
  Choice& choice = choices_[index];
  std::string_view content = "\"text\":\"\"";
  if (call_.kind == ApiKind::kChat) {
    content =
        choice.started ? "\"delta\":{}" : "\"delta\":{\"role\":\"assistant\",\"content\":\"\"}";
  }
  const std::string body =
      fmt::format("[{{\"index\":{},{},\"logprobs\":{},\"finish_reason\":\"{}\"}}]",
                  index,
                  content,
                  choice.logprobs.take(),
                  finish_name(*choice.finish));
  send_chunk(body, extra, out);
}

// The last finish_reason, the usage and the timings, and the end. Usage that was asked for comes
// in a chunk of its own, as OpenAI has it, else with the last finish_reason: an answer always has
// its price.
void ApiResponse::send_end(std::string* out) {
  const std::string account =
      fmt::format(",\"usage\":{},\"timings\":{}", final_usage(), timings_json(usage_, timings_));
  send_finish(*last_finish_, call_.include_usage ? "" : account, out);
  if (call_.include_usage) {
    *out += "data: ";
    *out += head_;
    *out += ",\"choices\":[]";
    *out += account;
    *out += "}\n\n";
  }
  *out += "data: [DONE]\n\n";
}

void ApiResponse::send_chunk(std::string_view choices, std::string_view extra, std::string* out) {
  *out += "data: ";
  *out += head_;
  *out += ",\"choices\":";
  *out += choices;
  if (call_.continuous_usage) {
    *out += ",\"usage\":";
    *out += usage_so_far();
  } else if (call_.include_usage) {
    *out += ",\"usage\":null";
  }
  *out += extra;
  *out += "}\n\n";
}

HttpReply ApiResponse::reply() {
  if (failure_) return error_reply(*failure_);
  std::string body = head_ + ",\"choices\":[";
  for (size_t i = 0; i < choices_.size(); ++i) {
    Choice& choice = choices_[i];
    const std::string text = std::exchange(choice.text, {});
    fmt::format_to(std::back_inserter(body), "{}{{\"index\":{},", i == 0 ? "" : ",", i);
    if (call_.kind == ApiKind::kChat) {
      body += "\"message\":{\"role\":\"assistant\",\"content\":";
      append_json_string(body, text);
      body += ",\"refusal\":null}";
    } else {
      body += "\"text\":";
      append_json_string(body, text);
    }
    fmt::format_to(std::back_inserter(body),
                   ",\"logprobs\":{},\"finish_reason\":\"{}\"}}",
                   choice.logprobs.take(),
                   finish_name(*choice.finish));
  }
  body += "],\"usage\":";
  body += final_usage();
  body += ",\"timings\":";
  body += timings_json(usage_, timings_);
  body += '}';
  return {.status = 200, .body = std::move(body)};
}

// What was cached is known with the request's end.
std::string ApiResponse::usage_so_far() const {
  return fmt::format("{{\"prompt_tokens\":{},\"completion_tokens\":{},\"total_tokens\":{}}}",
                     usage_.prompt_tokens,
                     usage_.completion_tokens,
                     usage_.prompt_tokens + usage_.completion_tokens);
}

std::string ApiResponse::final_usage() const {
  const auto& price = backend_.price();
  return usage_json(usage_, price ? cost_json(*price, usage_, timings_) : std::string());
}

std::string ApiResponse::explanation(std::string_view request_id, int status) const {
  std::string out = "{\"id\":";
  append_json_string(out, id_);
  out += ",\"object\":\"request.explanation\",\"request_id\":";
  append_json_string(out, request_id);
  fmt::format_to(std::back_inserter(out),
                 ",\"status\":{},\"finish_reason\":\"{}\",\"total_ms\":{:.3f},\"queue\":{{"
                 "\"ms\":{:.3f},\"reasons_ms\":{{",
                 status,
                 finish_reason_name(timeline_.finish),
                 timings_.total_seconds * 1e3,
                 timings_.queue_seconds * 1e3);
  for (size_t i = 1; i < kWaitReasonCount; ++i) {
    fmt::format_to(std::back_inserter(out),
                   "{}\"{}\":{:.3f}",
                   i == 1 ? "" : ",",
                   wait_reason_name(static_cast<WaitReason>(i)),
                   timeline_.waited[i] * 1e3);
  }
  fmt::format_to(std::back_inserter(out),
                 "}}}},\"prefill\":{{\"ms\":{:.3f},\"steps\":{},\"busy_ms\":{:.3f},\"cut_by\":{{",
                 timings_.prefill_seconds * 1e3,
                 timeline_.n_prefill_steps,
                 timings_.prompt_busy_seconds * 1e3);
  for (size_t i = 1; i < kSliceCutCount; ++i) {
    fmt::format_to(std::back_inserter(out),
                   "{}\"{}\":{}",
                   i == 1 ? "" : ",",
                   slice_cut_name(static_cast<SliceCut>(i)),
                   timeline_.cuts[i]);
  }
  fmt::format_to(std::back_inserter(out),
                 "}}}},\"decode\":{{\"ms\":{:.3f},\"longest_gap_ms\":{:.3f},\"busy_ms\":{:.3f}}},"
                 "\"preemptions\":{},\"usage\":{}}}",
                 timings_.decode_seconds * 1e3,
                 timeline_.longest_gap_seconds * 1e3,
                 timings_.completion_busy_seconds * 1e3,
                 timeline_.n_preempted,
                 final_usage());
  return out;
}

std::string cost_json(const MachinePrice& price, const Usage& usage, const Timings& timings) {
  const RequestCost cost = cost_of(price,
                                   {.prompt = Seconds{timings.prompt_busy_seconds},
                                    .completion = Seconds{timings.completion_busy_seconds}});
  std::string per_million = "null";
  if (usage.completion_tokens > 0) {
    const Tokens tokens{static_cast<double>(usage.completion_tokens)};
    per_million = fmt::format("{:.9g}", farthing::per_million(cost.total() / tokens).value);
  }
  return fmt::format(
      "{{\"prompt\":{:.9g},\"cached\":{:.9g},\"completion\":{:.9g},\"total\":{:.9g},"
      "\"currency\":\"{}\",\"per_million\":{},\"basis\":\"used\"}}",
      cost.prompt.value,
      cost.cached.value,
      cost.completion.value,
      cost.total().value,
      price.currency,
      per_million);
}

std::string usage_json(const Usage& usage, std::string_view cost) {
  return fmt::format(
      "{{\"prompt_tokens\":{},\"completion_tokens\":{},\"total_tokens\":{},"
      "\"prompt_tokens_details\":{{\"cached_tokens\":{},\"cache_miss_reason\":\"{}\"}}{}{}}}",
      usage.prompt_tokens,
      usage.completion_tokens,
      usage.prompt_tokens + usage.completion_tokens,
      usage.cached_tokens,
      cache_miss_name(usage.cache_miss),
      cost.empty() ? "" : ",\"cost\":",
      cost);
}

std::string timings_json(const Usage& usage, const Timings& timings) {
  const int32_t computed = usage.prompt_tokens - usage.cached_tokens;
  // The first token of an answer comes out of prefill: decoding makes the others.
  const int32_t predicted = usage.completion_tokens;
  const int32_t decoded = std::max(0, predicted - 1);
  const auto per_token_ms = [](double seconds, int32_t tokens) {
    return tokens > 0 ? seconds * 1e3 / tokens : 0.0;
  };
  return fmt::format(
      "{{\"cache_n\":{},\"prompt_n\":{},\"prompt_ms\":{:.3f},\"prompt_per_token_ms\":{:.4f},"
      "\"prompt_per_second\":{:.3f},\"predicted_n\":{},\"predicted_ms\":{:.3f},"
      "\"predicted_per_token_ms\":{:.4f},\"predicted_per_second\":{:.3f},\"queue_ms\":{:.3f}{}}}",
      usage.cached_tokens,
      computed,
      timings.prefill_seconds * 1e3,
      per_token_ms(timings.prefill_seconds, computed),
      per_second(computed, timings.prefill_seconds),
      predicted,
      timings.decode_seconds * 1e3,
      per_token_ms(timings.decode_seconds, decoded),
      per_second(decoded, timings.decode_seconds),
      timings.queue_seconds * 1e3,
      draft_timings_json(timings.drafts));
}

}  // namespace farthing
