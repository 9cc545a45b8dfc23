// The paths of the API. Owns: nothing but its options. Does not know: sockets, streams, which calls
// run. A request either gets its reply here, or becomes an ApiCall that the server runs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/energy_meter.h"
#include "serve/api_error.h"
#include "serve/api_request.h"
#include "serve/backend.h"
#include "serve/http_types.h"
#include "serve/server_log.h"

namespace farthing {

struct RouteOptions {
  ApiPolicy policy;
  std::vector<std::string> api_keys;      // empty: nobody is asked for one
  std::vector<std::string> cors_origins;  // exact origins, or "*"
  // 403 for a Host that public DNS can name: a page that a browser loads from there could make
  // its name mean this machine, and ask for answers without a key (DNS rebinding).
  bool own_names_only = false;
  int64_t start_time = 0;  // seconds since 1970; "created" of the model
  std::string version;
  double stall_seconds = 30;  // /health is 503 when work has waited that long without a step
  TimePoint started{};        // since when the machine costs
  bool vllm_metrics = false;  // /metrics gives vLLM's names too
  std::optional<Work> peak;   // of the machine, a second
  std::shared_ptr<EnergyMeter> energy_meter;  // if there is one
};

// What changes from request to request.
struct ServerMoment {
  TimePoint now;
  bool draining = false;
  const ServerLog* log = nullptr;
};

class Routes {
 public:
  // `backend` must outlive this.
  Routes(const Backend& backend, RouteOptions options);

  // What the head alone settles, before a body is read: 401, 403, 404, 405, 415, a CORS preflight,
  // a new call while draining. Otherwise nothing.
  std::optional<HttpReply> precheck(const HttpHead& head, const ServerMoment& moment) const;

  // Whose call a head that has passed precheck asks for; nothing if it asks for something else.
  std::optional<uint64_t> caller_of_call(const HttpHead& head) const;

  // Any thread. The head has passed precheck.
  std::variant<HttpReply, ApiCall> handle(const HttpRequest& request,
                                          const ServerMoment& moment) const;

  // Headers that every reply to this origin carries.
  std::vector<std::pair<std::string, std::string>> cors_headers(const std::string& origin) const;

 private:
  // Which key the request carries, from 1; 0 if nobody is asked for one; nothing if it has none.
  std::optional<uint64_t> caller(const HttpHead& head) const;
  HttpReply model_list() const;
  HttpReply one_model(std::string_view path) const;
  HttpReply tokenize(const std::string& body) const;
  HttpReply detokenize(const std::string& body) const;
  HttpReply apply_template(const std::string& body) const;
  HttpReply metrics(const ServerMoment& moment) const;
  HttpReply explain(const HttpHead& head, const ServerMoment& moment) const;
  HttpReply live(const ServerMoment& moment) const;
  HttpReply health(bool for_new_work, const ServerMoment& moment) const;

  const Backend& backend_;
  RouteOptions options_;
};

// The path of a request target: without scheme, host and query.
std::string_view path_of(std::string_view target);

// Whether a Host header is an address or a name that public DNS has not: localhost, one label,
// .localhost, .local, .internal (RFC 6761, RFC 6762). True without one.
bool is_own_name(std::string_view host);

// Equal, in a time that depends only on the lengths.
bool equal_constant_time(std::string_view a, std::string_view b);

}  // namespace farthing
