#include "serve/api_request.h"

#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <limits>
#include <optional>
#include <random>
#include <utility>

#include "serve/fields.h"
#include "serve/json_text.h"
#include "serve/messages.h"
#include "serve/prompts.h"

namespace farthing {

namespace {

constexpr int64_t kInt32Max = std::numeric_limits<int32_t>::max();
constexpr int64_t kMostPriority = 1'000'000;
constexpr std::string_view kNotBuilt = "this server doesn't have it yet";

uint64_t random_seed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

// Signed and unsigned 64-bit seeds are welcome; two spellings of the same bits are the same seed.
uint64_t read_seed(Fields& body) {
  const Json* value = body.find("seed");
  if (!value) return random_seed();
  if (value->is_number_unsigned()) return value->get<uint64_t>();
  if (value->is_number_integer()) return static_cast<uint64_t>(value->get<int64_t>());
  body.fail("seed", "seed must be an integer, not {}", json_type(*value));
  return 0;
}

std::vector<std::pair<TokenId, float>> read_logit_bias(Fields& body, int32_t vocab_size) {
  std::vector<std::pair<TokenId, float>> out;
  const Json* bias = body.object("logit_bias");
  if (!bias) return out;
  if (bias->size() > kMaxLogitBias) {
    body.fail("logit_bias",
              "logit_bias has {} entries; at most {} are allowed",
              bias->size(),
              kMaxLogitBias);
    return out;
  }
  for (const auto& [key, value] : bias->items()) {
    TokenId id = -1;
    const auto [end, fault] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (fault != std::errc() || end != key.data() + key.size() || id < 0 || id >= vocab_size) {
      body.fail("logit_bias",
                "logit_bias has the key \"{}\", which is no token id in [0, {})",
                shortened(key, 32),
                vocab_size);
      return out;
    }
    if (!value.is_number() || !(value.get<double>() >= -100 && value.get<double>() <= 100)) {
      body.fail("logit_bias", "the logit_bias of token {} must be a number in [-100, 100]", id);
      return out;
    }
    out.emplace_back(id, value.get<float>());
  }
  return out;
}

// (0, 1] and (0, inf): ranges open below.
float read_positive(Fields& body, std::string_view name, double high, float fallback) {
  const auto value = body.number(name, 0, high);
  if (value && *value <= 0) body.fail(name, "{} must be greater than 0", name);
  return static_cast<float>(value.value_or(fallback));
}

int32_t read_logprobs(Fields& body, ApiKind kind) {
  if (kind == ApiKind::kCompletion) {
    return static_cast<int32_t>(body.integer("logprobs", 0, kMaxTopLogprobs).value_or(-1));
  }
  const bool wanted = body.boolean("logprobs").value_or(false);
  const auto top = body.integer("top_logprobs", 0, kMaxTopLogprobs);
  if (top.value_or(0) > 0 && !wanted) {
    body.fail("top_logprobs", "top_logprobs needs logprobs to be true");
  }
  return wanted ? static_cast<int32_t>(top.value_or(0)) : -1;
}

SamplingParams read_sampling(Fields& body, ApiKind kind, int32_t vocab_size) {
  SamplingParams p;
  p.temperature = static_cast<float>(body.number("temperature", 0, 2).value_or(p.temperature));
  p.top_p = read_positive(body, "top_p", 1, p.top_p);
  // -1 and 0 both mean "all tokens"; more than the vocabulary is the same.
  p.top_k =
      static_cast<int32_t>(std::max<int64_t>(0, body.integer("top_k", -1, kInt32Max).value_or(0)));
  p.min_p = static_cast<float>(body.number("min_p", 0, 1).value_or(p.min_p));
  p.repetition_penalty = read_positive(body, "repetition_penalty", 100, p.repetition_penalty);
  p.frequency_penalty = static_cast<float>(body.number("frequency_penalty", -2, 2).value_or(0));
  p.presence_penalty = static_cast<float>(body.number("presence_penalty", -2, 2).value_or(0));
  p.logit_bias = read_logit_bias(body, vocab_size);
  p.seed = read_seed(body);
  p.logprobs = read_logprobs(body, kind);
  return p;
}

std::vector<std::string> read_stop(Fields& body) {
  std::vector<std::string> stops;
  const Json* stop = body.find("stop");
  if (!stop) return stops;
  if (stop->is_string()) {
    stops.push_back(stop->get<std::string>());
  } else if (stop->is_array() && stop->size() <= kMaxStops &&
             std::all_of(stop->begin(), stop->end(), [](const Json& s) { return s.is_string(); })) {
    stops = stop->get<std::vector<std::string>>();
  } else {
    body.fail("stop", "stop must be a string or a list of at most {} strings", kMaxStops);
  }
  for (const std::string& s : stops) {
    if (s.empty() || s.size() > kMaxStopBytes) {
      body.fail("stop", "a stop string must have 1 to {} bytes, not {}", kMaxStopBytes, s.size());
    }
  }
  return stops;
}

std::vector<TokenId> read_stop_tokens(Fields& body, int32_t vocab_size) {
  std::vector<TokenId> out;
  const Json* ids = body.array("stop_token_ids", kMaxStopTokens);
  for (size_t i = 0; ids && i < ids->size(); ++i) {
    const auto id = token_id((*ids)[i], vocab_size);
    if (!id) {
      body.fail("stop_token_ids", "stop_token_ids[{}] is no token id in [0, {})", i, vocab_size);
      return {};
    }
    out.push_back(*id);
  }
  return out;
}

// What the API lists and this server can't do: refused by name rather than silently ignored.
void refuse_unbuilt(Fields& body) {
  for (const char* name : {"tools",
                           "functions",
                           "structured_outputs",
                           "guided_json",
                           "guided_regex",
                           "guided_choice",
                           "guided_grammar",
                           "grammar",
                           "json_schema"}) {
    body.refuse(name, kNotBuilt);
  }
  for (const char* name : {"tool_choice", "function_call"}) {
    const Json* choice = body.find(name);
    if (choice && *choice != "none" && *choice != "auto") {
      body.fail(name, "{} other than \"none\" or \"auto\" is not supported: {}", name, kNotBuilt);
    }
  }
  if (const Json* format = body.object("response_format")) {
    const auto type = format->find("type");
    if (type == format->end() || *type != "text") {
      body.fail("response_format", "only {{\"type\":\"text\"}} is supported so far");
    }
  }
  const auto suffix = body.string("suffix");
  if (suffix && !suffix->empty()) body.refuse("suffix", kNotBuilt);
}

void accept_ignored(Fields& body) {
  body.boolean("parallel_tool_calls");
  body.string("user");
}

void read_stream(Fields& body, ApiCall* call) {
  call->stream = body.boolean("stream").value_or(false);
  const Json* options = body.object("stream_options");
  if (!options) return;
  if (!call->stream) {
    body.fail("stream_options", "stream_options needs stream to be true");
    return;
  }
  Fields inner(*options, "stream_options.");
  call->include_usage = inner.boolean("include_usage").value_or(false);
  const bool continuous = inner.boolean("continuous_usage_stats").value_or(false);
  call->continuous_usage = call->include_usage && continuous;  // as vLLM has it
  if (inner.failed()) body.fail(*inner.error());
}

void read_samples(Fields& body, ApiKind kind, ApiCall* call) {
  call->n = static_cast<int>(body.integer("n", 1, kMaxSamples).value_or(1));
  if (kind != ApiKind::kCompletion) return;
  const auto best_of = body.integer("best_of", 1, kMaxSamples);
  if (best_of && *best_of != call->n) {
    body.fail("best_of",
              "best_of is {}, but only best_of equal to n ({}) is supported",
              *best_of,
              call->n);
  }
}

// Absent: as many as fit. Both spellings given: the newer one counts.
std::optional<int32_t> read_max_tokens(Fields& body, ApiKind kind) {
  const int64_t low = kind == ApiKind::kChat ? 1 : 0;
  const auto old_name = body.integer("max_tokens", low, kInt32Max);
  const auto new_name = body.integer("max_completion_tokens", low, kInt32Max);
  if (new_name) return static_cast<int32_t>(*new_name);
  if (old_name) return static_cast<int32_t>(*old_name);
  if (kind == ApiKind::kCompletion) return 16;
  return std::nullopt;
}

TimePoint read_deadline(Fields& body, const ApiPolicy& policy, TimePoint now) {
  double seconds = policy.request_timeout_seconds;
  if (const auto ms = body.integer("timeout_ms", 1, kInt32Max)) {
    seconds = std::min(seconds, static_cast<double>(*ms) / 1000);
  }
  return now + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

// Everything of a Request but prompt and max_tokens.
Request read_common(
    Fields& body, ApiKind kind, const ApiPolicy& policy, int32_t vocab_size, TimePoint now) {
  Request request;
  request.sampling = read_sampling(body, kind, vocab_size);
  request.stop = read_stop(body);
  request.stop_tokens = read_stop_tokens(body, vocab_size);
  request.min_tokens = static_cast<int32_t>(body.integer("min_tokens", 0, kInt32Max).value_or(0));
  request.ignore_eos = body.boolean("ignore_eos").value_or(false);
  request.skip_special = body.boolean("skip_special_tokens").value_or(true);
  request.include_stop = body.boolean("include_stop_str_in_output").value_or(false);
  request.deadline = read_deadline(body, policy, now);
  request.priority =
      static_cast<int32_t>(body.integer("priority", -kMostPriority, kMostPriority).value_or(0));
  // Only keeps one caller's prefixes apart: callers never share, see Routes.
  if (const auto salt = body.string("cache_salt")) {
    request.salt.low = XXH3_64bits(salt->data(), salt->size());
  }
  return request;
}

// The prompt put in, and max_tokens fitted to the room it leaves.
std::optional<ApiError> fit(Request* request,
                            Prompt prompt,
                            std::optional<int32_t> max_tokens,
                            int32_t context) {
  const auto used = static_cast<int64_t>(prompt.tokens.size());
  const int64_t room = context - used;
  if (room < 1) {
    return ApiError{.status = 400,
                    .message = fmt::format(
                        "the prompt has {} tokens, but the context holds {} and an answer needs at "
                        "least 1: room for the prompt is {} tokens; shorten it or serve with a "
                        "larger --ctx",
                        used,
                        context,
                        context - 1),
                    .param = prompt.field,
                    .code = "context_length_exceeded"};
  }
  request->prompt = std::move(prompt.tokens);
  request->max_tokens =
      static_cast<int32_t>(std::min<int64_t>(max_tokens.value_or(kInt32Max), room));
  return std::nullopt;
}

}  // namespace

void read_model(Fields& body, const Backend& backend, const ApiPolicy& policy) {
  const auto name = body.string("model");
  if (!name || !policy.strict_model || *name == backend.info().id) return;
  body.fail({.status = 404,
             .message = fmt::format("the model \"{}\" is not loaded; this server has \"{}\"",
                                    shortened(*name, 128),
                                    backend.info().id),
             .param = "model",
             .code = "model_not_found"});
}

std::variant<ApiCall, ApiError> parse_call(ApiKind kind,
                                           std::string_view text,
                                           const Backend& backend,
                                           const ApiPolicy& policy,
                                           TimePoint now) {
  auto json = parse_json(text);
  if (auto* error = std::get_if<ApiError>(&json)) return std::move(*error);
  Fields body(std::get<Json>(json));

  ApiCall call{.kind = kind};
  read_model(body, backend, policy);
  refuse_unbuilt(body);
  accept_ignored(body);
  read_stream(body, &call);
  read_samples(body, kind, &call);
  const Request common = read_common(body, kind, policy, backend.info().vocab_size, now);
  const auto max_tokens = read_max_tokens(body, kind);
  if (max_tokens && common.min_tokens > *max_tokens) {
    body.fail("min_tokens",
              "min_tokens ({}) is more than max_tokens ({})",
              common.min_tokens,
              *max_tokens);
  }
  call.logprobs = common.sampling.logprobs >= 0;
  call.tokens_as_ids = body.boolean("return_tokens_as_token_ids").value_or(false);

  PromptOptions options;
  if (kind == ApiKind::kCompletion) {
    options.echo = body.boolean("echo").value_or(false);
    options.parse_special = body.boolean("parse_special").value_or(false);
    if (options.echo && call.logprobs && call.n > 1)
      body.fail("echo", "echo together with logprobs needs n to be 1, not {}", call.n);
  }
  // Tokenising is the dear part: only once all cheap checks have passed.
  std::vector<Prompt> prompts = kind == ApiKind::kChat ? read_chat_prompt(body, backend)
                                                       : read_prompts(body, backend, options);
  for (Prompt& prompt : prompts) {
    if (options.echo) call.echo.push_back(std::move(prompt.text));
    call.requests.push_back(common);
    call.requests.back().n = call.n;
    call.requests.back().score_prompt = options.echo && call.logprobs;
    if (auto error =
            fit(&call.requests.back(), std::move(prompt), max_tokens, backend.info().context)) {
      body.fail(std::move(*error));
    }
  }
  if (body.failed()) return *body.error();
  call.unknown_fields = body.unknown();
  return call;
}

}  // namespace farthing
