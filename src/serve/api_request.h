// The one validator: the JSON body of a generating route -> Requests for the engine, or a 400 that
// names the field. Does not know: sockets, streams. Every documented field works or is refused;
// unknown ones are listed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "core/request.h"
#include "serve/api_error.h"
#include "serve/backend.h"

namespace farthing {

enum class ApiKind { kChat, kCompletion };

inline constexpr int kMaxSamples = 8;
inline constexpr size_t kMaxPrompts = 32;
inline constexpr size_t kMaxStops = 16;
inline constexpr size_t kMaxStopBytes = 256;
inline constexpr int kMaxTopLogprobs = 20;
inline constexpr size_t kMaxLogitBias = 1024;
inline constexpr size_t kMaxStopTokens = 1024;

struct ApiPolicy {
  bool strict_model = false;  // another model's name is a 404
  double request_timeout_seconds = 600;
};

// One validated call of the API.
struct ApiCall {
  ApiKind kind = ApiKind::kChat;
  std::vector<Request> requests;  // one per prompt; choice index = prompt * n + sample
  std::vector<std::string> echo;  // text of each prompt, if the answer repeats it; else empty
  int n = 1;
  bool logprobs = false;       // with echo, also of the prompt's tokens
  bool tokens_as_ids = false;  // logprobs name tokens "token_id:5", as vLLM has it
  bool stream = false;
  bool include_usage = false;     // a last chunk with the usage
  bool continuous_usage = false;  // and the usage so far in every chunk
  std::vector<std::string> unknown_fields;

  int n_choices() const { return n * static_cast<int>(requests.size()); }
};

std::variant<ApiCall, ApiError> parse_call(ApiKind kind,
                                           std::string_view body,
                                           const Backend& backend,
                                           const ApiPolicy& policy,
                                           TimePoint now);

// For the routes that only need the model's name checked: reads `model`.
class Fields;
void read_model(Fields& body, const Backend& backend, const ApiPolicy& policy);

}  // namespace farthing
