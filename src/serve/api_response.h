// Owns: the answer to one call so far. Events of its requests go in; out come SSE bytes (a streamed
// call) or, at the end, one reply. Does not know: sockets, threads, time. Invariant: "data: [DONE]"
// only after every choice has had its finish_reason; after an error nothing more.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/event.h"
#include "serve/api_error.h"
#include "serve/api_request.h"
#include "serve/backend.h"
#include "serve/logprobs.h"

namespace farthing {

inline constexpr std::string_view kSsePing = ": ping\n\n";

class ApiResponse {
 public:
  // `call` and `backend` must outlive this. id: "chatcmpl-..."; created: seconds since 1970.
  ApiResponse(const ApiCall& call, const Backend& backend, std::string id, int64_t created);

  // The next event of request `prompt`; a streamed call appends its SSE bytes to `out`.
  void add(size_t prompt, const Event& event, std::string* out);

  bool finished() const { return failure_ || n_ended_ == call_.requests.size(); }
  const std::optional<ApiError>& failure() const { return failure_; }
  const std::string& id() const { return id_; }
  bool has_token() const { return has_token_; }
  size_t held_bytes() const { return held_bytes_; }  // of a call that isn't streamed
  const Usage& usage() const { return usage_; }
  const Timings& timings() const { return timings_; }

  // Once finished: where the time went, without content; {"id","finish_reason","queue",...}.
  std::string explanation(std::string_view request_id, int status) const;

  // Of a call that isn't streamed, once finished; the texts go with it.
  HttpReply reply();

 private:
  struct Choice {
    explicit Choice(LogprobText empty) : logprobs(std::move(empty)) {}
    std::string text;      // not yet sent
    LogprobText logprobs;  // not yet sent
    int32_t n_tokens = 0;
    bool started = false;  // the first chunk, with the role, is out
    std::optional<FinishReason> finish;
  };

  void on_token(size_t prompt, const TokenEvent& event, std::string* out);
  void on_sample_end(size_t prompt, const SampleEnd& event, std::string* out);
  void on_request_end(const RequestEnd& event, std::string* out);
  void fail(ApiError error, std::string* out);

  void send_text(size_t index, std::string* out);
  void send_finish(size_t index, std::string_view extra, std::string* out);
  void send_chunk(std::string_view choices, std::string_view extra, std::string* out);
  void send_end(std::string* out);
  std::string usage_so_far() const;
  std::string final_usage() const;

  const ApiCall& call_;
  const Backend& backend_;
  std::string id_;
  std::string head_;  // of every object: id, object, created, model, fingerprint
  std::vector<Choice> choices_;
  std::optional<size_t> last_finish_;  // its chunk waits for the timings
  size_t n_finished_ = 0;              // choices
  size_t n_ended_ = 0;                 // requests
  size_t held_bytes_ = 0;
  bool has_token_ = false;
  int32_t counted_tokens_ = 0;  // completion tokens of the requests that ended
  Usage usage_;
  Timings timings_;
  Timeline timeline_;
  std::optional<ApiError> cut_short_;  // a sample was
  std::optional<ApiError> failure_;
};

// `cost`: what cost_json gave, or empty.
std::string usage_json(const Usage& usage, std::string_view cost = {});
// {"prompt","cached","completion","total","currency","per_million","basis"}; per_million is per
// million completion tokens (null without any), the basis that of the busy time (econ/ledger.h).
std::string cost_json(const MachinePrice& price, const Usage& usage, const Timings& timings);
// The field names and units of llama-server's "timings".
std::string timings_json(const Usage& usage, const Timings& timings);

}  // namespace farthing
