#include "serve/routes.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "serve/fields.h"
#include "serve/http_format.h"
#include "serve/json_text.h"
#include "serve/messages.h"
#include "serve/metrics_text.h"
#include "serve/prompts.h"

namespace farthing {

namespace {

enum class RouteId {
  kModels,
  kModel,
  kChat,
  kCompletions,
  kTokenize,
  kDetokenize,
  kApplyTemplate,
  kHealth,
  kLive,
  kReady,
  kVersion,
  kMetrics,
  kExplain,
};

struct Route {
  std::string_view path;
  RouteId id;
  bool post = false;
  bool open = false;       // no API key needed
  bool generates = false;  // refused while draining
};

constexpr std::string_view kModelPrefix = "/v1/models/";
constexpr std::string_view kRequestPrefix = "/v1/requests/";
constexpr std::string_view kExplainSuffix = "/explain";

constexpr std::array kRoutes = {
    Route{"/v1/models", RouteId::kModels},
    Route{"/v1/chat/completions", RouteId::kChat, true, false, true},
    Route{"/v1/completions", RouteId::kCompletions, true, false, true},
    Route{"/tokenize", RouteId::kTokenize, true},
    Route{"/detokenize", RouteId::kDetokenize, true},
    Route{"/apply-template", RouteId::kApplyTemplate, true},
    Route{"/health", RouteId::kHealth, false, true},
    Route{"/livez", RouteId::kLive, false, true},
    Route{"/readyz", RouteId::kReady, false, true},
    Route{"/version", RouteId::kVersion},
    Route{"/metrics", RouteId::kMetrics},
};
constexpr Route kModelRoute{kModelPrefix, RouteId::kModel};
constexpr Route kExplainRoute{kRequestPrefix, RouteId::kExplain};

// The part of a path between the two; empty if it isn't of that form.
std::string_view between(std::string_view path, std::string_view prefix, std::string_view suffix) {
  const size_t around = prefix.size() + suffix.size();
  if (path.size() <= around || !path.starts_with(prefix) || !path.ends_with(suffix)) return {};
  return path.substr(prefix.size(), path.size() - around);
}

const Route* find_route(std::string_view path) {
  for (const Route& route : kRoutes) {
    if (route.path == path) return &route;
  }
  if (!between(path, kModelPrefix, "").empty()) return &kModelRoute;
  if (!between(path, kRequestPrefix, kExplainSuffix).empty()) return &kExplainRoute;
  return nullptr;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(
      out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

// A browser sends other sites' forms without asking as long as they aren't JSON; so a body must say
// that it is, except where no browser is involved.
bool is_json_type(const HttpHead& head) {
  const std::string type = lower(head.content_type.substr(0, head.content_type.find(';')));
  const size_t end = type.find_last_not_of(" \t");
  if (end == std::string::npos) return head.origin.empty();
  return type.substr(0, end + 1) == "application/json";
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// %41 -> A; a broken escape stays as it is and then names no model.
std::string percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 &&
                        hex_value(text[i + 2]) >= 0;
    if (escape) {
      out += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

HttpReply json_reply(const Json& value) {
  return {.body = value.dump(-1, ' ', false, Json::error_handler_t::replace)};
}

Json model_json(const ModelInfo& info, int64_t created) {
  return {{"id", info.id},
          {"object", "model"},
          {"created", created},
          {"owned_by", "farthing"},
          {"root", info.id},
          {"parent", nullptr},
          {"max_model_len", info.context},
          {"meta",
           {{"description", info.description},
            {"vocab_size", info.vocab_size},
            {"n_parameters", info.n_parameters},
            {"size", info.file_bytes}}}};
}

// A body as Fields for `read`, which gives the reply's JSON; any fault left behind becomes the
// reply.
template <class Read>
HttpReply with_fields(const std::string& text, Read read) {
  auto json = parse_json(text);
  if (const auto* error = std::get_if<ApiError>(&json)) return error_reply(*error);
  Fields body(std::get<Json>(json));
  const Json out = read(body);
  if (body.failed()) return error_reply(*body.error());
  HttpReply reply = json_reply(out);
  const auto unknown = body.unknown();
  if (!unknown.empty()) {
    reply.headers.emplace_back("X-Farthing-Warning", unknown_fields_warning(unknown));
  }
  return reply;
}

}  // namespace

std::string_view path_of(std::string_view target) {
  const size_t scheme = lower(target.substr(0, 8)) == "https://"  ? 8
                        : lower(target.substr(0, 7)) == "http://" ? 7
                                                                  : 0;
  if (scheme > 0) {
    const size_t slash = target.find('/', scheme);
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
  }
  return target.substr(0, target.find_first_of("?#"));
}

bool is_own_name(std::string_view host) {
  if (host.starts_with('[')) return true;
  std::string name = lower(host.substr(0, host.find(':')));
  if (name.ends_with('.')) name.pop_back();
  if (name.find('.') == std::string::npos) return true;
  if (name.find_first_not_of("0123456789.") == std::string::npos) return true;
  return name.ends_with(".localhost") || name.ends_with(".local") || name.ends_with(".internal");
}

bool equal_constant_time(std::string_view a, std::string_view b) {
  unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned char>(a[i] ^ (b.empty() ? '\0' : b[i % b.size()]));
  }
  return difference == 0;
}

Routes::Routes(const Backend& backend, RouteOptions options)
    : backend_(backend), options_(std::move(options)) {}

std::optional<uint64_t> Routes::caller(const HttpHead& head) const {
  if (options_.api_keys.empty()) return 0;
  std::string_view given = head.api_key;
  const std::string_view authorization = head.authorization;
  if (lower(authorization.substr(0, 7)) == "bearer ") given = authorization.substr(7);
  uint64_t found = 0;
  for (size_t i = 0; i < options_.api_keys.size(); ++i) {
    if (equal_constant_time(given, options_.api_keys[i])) found = i + 1;
  }
  if (found == 0) return std::nullopt;
  return found;
}

std::vector<std::pair<std::string, std::string>> Routes::cors_headers(
    const std::string& origin) const {
  const auto& allowed = options_.cors_origins;
  const bool any = std::find(allowed.begin(), allowed.end(), "*") != allowed.end();
  const bool listed = std::find(allowed.begin(), allowed.end(), origin) != allowed.end();
  if (origin.empty() || (!any && !listed)) return {};
  return {{"Access-Control-Allow-Origin", any ? "*" : origin},
          {"Vary", "Origin"},
          {"Access-Control-Expose-Headers", "X-Request-Id, X-Farthing-Warning, Retry-After"}};
}

std::optional<HttpReply> Routes::precheck(const HttpHead& head, const ServerMoment& moment) const {
  const std::string_view path = path_of(head.target);
  const Route* route = find_route(path);
  const bool open = route && route->open;
  if (options_.own_names_only && !is_own_name(head.host)) {
    return error_reply(
        {.status = 403,
         .message = fmt::format("this server asks nobody for a key, so it answers only to its own "
                                "names (localhost or an address), not to \"{}\": start it with "
                                "--api-key-file or --insecure to change that",
                                shortened(head.host, 128)),
         .code = "host_not_allowed"});
  }
  if (head.method == "OPTIONS" && route && !cors_headers(head.origin).empty()) {
    return HttpReply{.status = 204,
                     .headers = {{"Access-Control-Allow-Methods", route->post ? "POST" : "GET"},
                                 {"Access-Control-Allow-Headers",
                                  "authorization, content-type, x-api-key, x-request-id"},
                                 {"Access-Control-Max-Age", "600"}}};
  }
  if (!open && !caller(head)) {
    return error_reply({.status = 401,
                        .message = "a valid API key is needed: Authorization: Bearer KEY",
                        .code = "invalid_api_key"});
  }
  if (!route) {
    return error_reply({.status = 404,
                        .message = fmt::format("there is nothing at {}", shortened(path, 128)),
                        .code = "not_found"});
  }
  const bool allowed =
      route->post ? head.method == "POST" : (head.method == "GET" || head.method == "HEAD");
  if (!allowed) {
    HttpReply reply = error_reply({.status = 405,
                                   .message = fmt::format("{} takes {}, not {}",
                                                          shortened(path, 128),
                                                          route->post ? "POST" : "GET",
                                                          shortened(head.method, 32)),
                                   .code = "method_not_allowed"});
    reply.headers.emplace_back("Allow", route->post ? "POST" : "GET, HEAD");
    return reply;
  }
  if (route->post && !head.content_encoding.empty() && lower(head.content_encoding) != "identity") {
    return error_reply({.status = 415,
                        .message = "compressed bodies are not supported: send the body without "
                                   "Content-Encoding",
                        .code = "unsupported_encoding"});
  }
  if (route->post && !is_json_type(head)) {
    return error_reply({.status = 415,
                        .message = "the body must be JSON: send Content-Type: application/json",
                        .code = "unsupported_media_type"});
  }
  if (route->generates && moment.draining) {
    return error_reply({.status = 503,
                        .message = "the server is shutting down",
                        .code = "draining",
                        .retry_after_seconds = 5});
  }
  return std::nullopt;
}

std::optional<uint64_t> Routes::caller_of_call(const HttpHead& head) const {
  const Route* route = find_route(path_of(head.target));
  if (!route || !route->generates) return std::nullopt;
  return caller(head);
}

std::variant<HttpReply, ApiCall> Routes::handle(const HttpRequest& request,
                                                const ServerMoment& moment) const {
  const std::string_view path = path_of(request.head.target);
  const Route* route = find_route(path);
  CHECK(route != nullptr);
  switch (route->id) {
    case RouteId::kModels:
      return model_list();
    case RouteId::kModel:
      return one_model(path);
    case RouteId::kTokenize:
      return tokenize(request.body);
    case RouteId::kDetokenize:
      return detokenize(request.body);
    case RouteId::kApplyTemplate:
      return apply_template(request.body);
    case RouteId::kLive:
      return live(moment);
    case RouteId::kHealth:
      return health(/*for_new_work=*/false, moment);
    case RouteId::kReady:
      return health(/*for_new_work=*/true, moment);
    case RouteId::kVersion:
      return json_reply({{"version", options_.version}});
    case RouteId::kMetrics:
      return metrics(moment);
    case RouteId::kExplain:
      return explain(request.head, moment);
    case RouteId::kChat:
    case RouteId::kCompletions:
      break;
  }
  const ApiKind kind = route->id == RouteId::kChat ? ApiKind::kChat : ApiKind::kCompletion;
  auto call = parse_call(kind, request.body, backend_, options_.policy, moment.now);
  if (const auto* error = std::get_if<ApiError>(&call)) return error_reply(*error);
  // Callers share neither their turns nor what is stored of their prompts.
  const uint64_t who = caller(request.head).value_or(0);
  for (Request& r : std::get<ApiCall>(call).requests) {
    r.caller = who;
    r.salt.high = who;
  }
  return std::get<ApiCall>(std::move(call));
}

HttpReply Routes::model_list() const {
  return json_reply({{"object", "list"},
                     {"data", Json::array({model_json(backend_.info(), options_.start_time)})}});
}

HttpReply Routes::one_model(std::string_view path) const {
  const std::string id = percent_decoded(path.substr(kModelPrefix.size()));
  if (id == backend_.info().id) return json_reply(model_json(backend_.info(), options_.start_time));
  return error_reply(
      {.status = 404,
       .message = fmt::format("the model \"{}\" is not loaded; this server has \"{}\"",
                              shortened(id, 128),
                              backend_.info().id),
       .param = "model",
       .code = "model_not_found"});
}

HttpReply Routes::metrics(const ServerMoment& moment) const {
  MetricsView view{.engine = backend_.metrics(),
                   .progress = backend_.progress(),
                   .now = moment.now,
                   .peak = options_.peak,
                   .model = backend_.info().id,
                   .vllm_names = options_.vllm_metrics};
  if (moment.log) view.answers = moment.log->answers();
  if (options_.energy_meter) view.joules = options_.energy_meter->joules();
  if (const auto& price = backend_.price()) {
    const EngineMetrics& m = view.engine;
    const SchedulerCounts& s = m.scheduler;
    view.ledger = Ledger{
        .price = *price,
        .idle = Seconds{seconds_between(options_.started, m.began) + m.idle_seconds(moment.now)},
        .busy = {.prompt = Seconds{m.prompt_busy_seconds},
                 .completion = Seconds{m.completion_busy_seconds}},
        .prompt = Tokens{static_cast<double>(s.prompt_tokens_computed + s.prompt_tokens_cached)},
        .completion = Tokens{static_cast<double>(m.generated_tokens)}};
  }
  return {.body = metrics_text(view), .content_type = "text/plain; version=0.0.4; charset=utf-8"};
}

HttpReply Routes::explain(const HttpHead& head, const ServerMoment& moment) const {
  const std::string id =
      percent_decoded(between(path_of(head.target), kRequestPrefix, kExplainSuffix));
  std::optional<std::string> found;
  if (moment.log) found = moment.log->explanation(caller(head).value_or(0), id);
  if (found) return {.body = *std::move(found)};
  return error_reply({.status = 404,
                      .message = fmt::format("\"{}\" is none of the last {} calls of this key that "
                                             "have ended (the id is the answer's, or its "
                                             "X-Request-Id)",
                                             shortened(id, 128),
                                             ServerLog::kKept),
                      .code = "request_not_found"});
}

// That the process answers, whatever its engine does.
HttpReply Routes::live(const ServerMoment& moment) const {
  return json_reply({{"status", moment.draining ? "draining" : "ok"}});
}

// Health is the age of the last step: a server whose engine hangs isn't well, however fast it says
// so.
HttpReply Routes::health(bool for_new_work, const ServerMoment& moment) const {
  const Progress progress = backend_.progress();
  const double silent = progress.silent_seconds(moment.now);
  const bool stalled = silent >= options_.stall_seconds;
  Json body = {{"status",
                stalled           ? "stalled"
                : moment.draining ? "draining"
                                  : "ok"},
               {"working", progress.working},
               {"last_step_age_seconds", nullptr}};
  if (progress.last_step) {
    body["last_step_age_seconds"] = std::max(0.0, seconds_between(*progress.last_step, moment.now));
  }
  if (stalled) {
    body["message"] =
        fmt::format("work is waiting, and no step has ended for {:.1f} s (the limit is {:g} s)",
                    silent,
                    options_.stall_seconds);
  }
  HttpReply reply = json_reply(body);
  if (stalled || (for_new_work && moment.draining)) {
    reply.status = 503;
    reply.headers.emplace_back("Retry-After", "5");
  }
  return reply;
}

// Answers of these can be many times as large as their requests, and a client that doesn't read
// keeps them here.
constexpr size_t kMostText = 1u << 20, kMostTokens = 512u << 10;

ApiError too_large(std::string param, std::string_view what, size_t most) {
  return {.status = 400,
          .message = fmt::format("{} would be longer than {}: send less at once", what, most),
          .param = std::move(param),
          .code = "answer_too_large"};
}

// The text stands under three names, as three servers call it: prompt, content, text.
HttpReply Routes::tokenize(const std::string& text) const {
  return with_fields(text, [this](Fields& body) -> Json {
    read_model(body, backend_, options_.policy);
    std::optional<std::string> input;
    for (const char* name : {"prompt", "content", "text"}) {
      auto value = body.string(name);
      if (value && input) body.fail(name, "give only one of prompt, content and text");
      if (value) input = std::move(value);
    }
    const bool parse_special = body.boolean("parse_special").value_or(false);
    // llama-server's form (`content`) adds nothing unless asked; the other two add what the model
    // wants.
    bool add_special = !body.find("content");
    for (const char* name : {"add_special_tokens", "add_special"}) {
      add_special = body.boolean(name).value_or(add_special);
    }
    if (!input && !body.failed()) body.fail("prompt", "give the text as prompt, content or text");
    if (body.failed()) return {};
    const auto tokens = backend_.encode(*input, add_special, parse_special);
    if (!tokens) {
      body.fail(to_api_error(tokens.error(), "prompt"));
      return {};
    }
    if (tokens->size() > kMostTokens) {
      body.fail(too_large("prompt", "the list of tokens", kMostTokens));
      return {};
    }
    return {
        {"tokens", *tokens}, {"count", tokens->size()}, {"max_model_len", backend_.info().context}};
  });
}

HttpReply Routes::detokenize(const std::string& text) const {
  return with_fields(text, [this](Fields& body) -> Json {
    read_model(body, backend_, options_.policy);
    const Json* ids = body.find("tokens");
    if (!ids) body.fail("tokens", "tokens must be a list of token ids");
    std::vector<TokenId> tokens;
    if (ids) tokens = read_token_ids(body, *ids, "tokens", backend_.info().vocab_size);
    if (body.failed()) return {};
    const auto decoded = backend_.decode(tokens, /*skip_special=*/false);
    if (!decoded) {
      body.fail(to_api_error(decoded.error(), "tokens"));
      return {};
    }
    if (decoded->size() > kMostText) body.fail(too_large("tokens", "the text", kMostText));
    if (body.failed()) return {};
    return {{"prompt", *decoded}, {"content", *decoded}, {"text", *decoded}};
  });
}

HttpReply Routes::apply_template(const std::string& text) const {
  return with_fields(text, [this](Fields& body) -> Json {
    read_model(body, backend_, options_.policy);
    ChatInput input = read_chat(body);
    if (body.failed()) return {};
    const auto rendered = backend_.render_chat(std::move(input));
    if (!rendered) {
      body.fail(to_api_error(rendered.error(), "messages"));
    } else if (rendered->size() > kMostText) {
      body.fail(too_large("messages", "the text", kMostText));
    }
    if (body.failed()) return {};
    return {{"prompt", *rendered}};
  });
}

}  // namespace farthing
