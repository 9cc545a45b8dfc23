// The seam between the API and the model: what the routes need of an engine, and nothing more.
// serve/engine_backend.h puts it on the real Engine; the tests put a scripted one behind it.
// Invariant: the const functions may be called from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "core/event.h"
#include "core/progress.h"
#include "core/request.h"
#include "econ/machine_price.h"
#include "engine/metrics.h"
#include "text/chat_template.h"

namespace farthing {

struct ModelInfo {
  std::string id;           // what /v1/models says and every response echoes
  std::string description;  // "llama 135M Q4_1"
  std::string fingerprint;  // system_fingerprint: changes when weights, kernels or KV type do
  int32_t context = 0;      // most tokens of one sequence, prompt and answer together
  int32_t vocab_size = 0;
  TokenId bos = -1;
  int64_t n_parameters = 0;
  int64_t file_bytes = 0;
  bool has_chat_template = false;
  std::string chat_template_error;  // why there is none, although the file carries one
};

class Backend {
 public:
  using Sink = std::function<void(Event)>;

  virtual ~Backend() = default;

  virtual const ModelInfo& info() const = 0;
  virtual Result<std::vector<TokenId>> encode(std::string_view text,
                                              bool add_special,
                                              bool parse_special) const = 0;
  virtual Result<std::string> decode(std::span<const TokenId> ids, bool skip_special) const = 0;
  virtual std::string_view piece(TokenId id) const = 0;  // the bytes of one token
  virtual Result<std::string> render_chat(ChatInput input) const = 0;
  virtual Result<std::vector<TokenId>> chat_prompt(ChatInput input) const = 0;

  // As Engine: the sink is called on the engine's thread, and never after its RequestEnd.
  virtual Result<RequestId> submit(Request request, Sink sink) = 0;
  virtual void cancel(RequestId id) = 0;
  // Never waits for the engine.
  virtual Progress progress() const = 0;
  virtual EngineMetrics metrics() const = 0;
  // Of the machine that it runs on; nothing if nobody said.
  virtual const std::optional<MachinePrice>& price() const = 0;
};

}  // namespace farthing
