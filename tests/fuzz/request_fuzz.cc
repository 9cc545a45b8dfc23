// libFuzzer target: any bytes as the body of a generating route, both of them. What
// the validator lets through, the engine may rely on; what it refuses, it refuses in valid JSON.
#include <cmath>
#include <string>
#include <string_view>
#include <variant>

#include "serve/api_request.h"
#include "serve/fake_backend_for_tests.h"
#include "tests/fuzz/require.h"

namespace farthing::fuzz {
namespace {

void judge_sampling(const SamplingParams& s, int32_t vocab_size) {
  require(std::isfinite(s.temperature) && s.temperature >= 0, "temperature {}", s.temperature);
  require(s.top_p > 0 && s.top_p <= 1, "top_p {}", s.top_p);
  require(s.top_k >= 0, "top_k {}", s.top_k);
  require(s.min_p >= 0 && s.min_p <= 1, "min_p {}", s.min_p);
  require(std::isfinite(s.repetition_penalty) && s.repetition_penalty > 0,
          "repetition_penalty {}",
          s.repetition_penalty);
  require(std::isfinite(s.frequency_penalty), "frequency_penalty {}", s.frequency_penalty);
  require(std::isfinite(s.presence_penalty), "presence_penalty {}", s.presence_penalty);
  require(s.logprobs >= -1 && s.logprobs <= kMaxTopLogprobs, "logprobs {}", s.logprobs);
  require(s.logit_bias.size() <= kMaxLogitBias, "{} biases", s.logit_bias.size());
  for (const auto& [id, bias] : s.logit_bias) {
    require(id >= 0 && id < vocab_size, "bias of id {}", id);
    require(!std::isnan(bias), "a bias that is no number");
  }
}

void judge_request(const Request& r, const ModelInfo& model, TimePoint now) {
  require(!r.prompt.empty(), "an empty prompt");
  for (const TokenId id : r.prompt) require(id >= 0 && id < model.vocab_size, "prompt id {}", id);
  require(r.max_tokens >= 0 && r.min_tokens >= 0 &&
              r.min_tokens <= std::max(r.max_tokens, 0) + model.context,
          "min_tokens {}, max_tokens {}",
          r.min_tokens,
          r.max_tokens);
  require(static_cast<int64_t>(r.prompt.size()) + r.max_tokens <= model.context,
          "{} + {} tokens in a context of {}",
          r.prompt.size(),
          r.max_tokens,
          model.context);
  require(r.n >= 1 && r.n <= kMaxSamples, "n = {}", r.n);
  require(r.stop.size() <= kMaxStops, "{} stop strings", r.stop.size());
  for (const std::string& stop : r.stop) {
    require(
        stop.size() <= kMaxStopBytes && is_utf8(stop), "a stop string of {} bytes", stop.size());
  }
  require(r.stop_tokens.size() <= kMaxStopTokens, "{} stop tokens", r.stop_tokens.size());
  for (const TokenId id : r.stop_tokens) {
    require(id >= 0 && id < model.vocab_size, "stop token {}", id);
  }
  require(!r.deadline || *r.deadline >= now, "a deadline in the past");
  judge_sampling(r.sampling, model.vocab_size);
}

void judge_error(const ApiError& error) {
  require(error.status >= 400 && error.status < 500,
          "status {}: {}",
          error.status,
          printable(error.message));
  require(!error.message.empty(), "refused without a reason");
  const Json body = Json::parse(error_json(error), nullptr, false);
  require(body.is_object() && body["error"]["message"].is_string(), "the error is no JSON");
  require(error_json(error).size() < 4096, "an error of {} bytes", error_json(error).size());
}

void fuzz_request(ApiKind kind, std::string_view body) {
  static const FakeBackend backend;
  const TimePoint now{};
  const auto parsed = parse_call(kind, body, backend, {}, now);
  const auto again = parse_call(kind, body, backend, {}, now);
  require(parsed.index() == again.index(), "accepted only sometimes");
  if (const auto* error = std::get_if<ApiError>(&parsed)) {
    require(error->message == std::get<ApiError>(again).message, "two reasons");
    return judge_error(*error);
  }
  const ApiCall& call = std::get<ApiCall>(parsed);
  require(!call.requests.empty() && call.requests.size() <= kMaxPrompts,
          "{} prompts",
          call.requests.size());
  require(
      call.echo.empty() || call.echo.size() == call.requests.size(), "{} echoes", call.echo.size());
  require(call.n >= 1 && call.n <= kMaxSamples, "n = {}", call.n);
  require(is_utf8(body), "accepted what is no UTF-8");
  for (const Request& request : call.requests) judge_request(request, backend.info(), now);
}

}  // namespace
}  // namespace farthing::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using farthing::ApiKind;
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  farthing::fuzz::fuzz_request(ApiKind::kChat, body);
  farthing::fuzz::fuzz_request(ApiKind::kCompletion, body);
  return 0;
}
