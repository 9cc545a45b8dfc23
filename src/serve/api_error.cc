#include "serve/api_error.h"

#include "serve/json_text.h"

namespace farthing {

ApiError to_api_error(const Error& error, std::string_view param) {
  switch (error.kind) {
    case ErrorKind::kUsage:
    case ErrorKind::kBadInput:
      return {.status = 400,
              .message = error.message,
              .param = std::string(param),
              .code = "invalid_value"};
    case ErrorKind::kNoResource:
    case ErrorKind::kUnreachable:
      return {
          .status = 503, .message = error.message, .code = "no_resource", .retry_after_seconds = 5};
    case ErrorKind::kRuntime:
    case ErrorKind::kInterrupted:
      break;
  }
  return {.status = 500, .message = error.message, .code = "internal_error"};
}

std::string_view error_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 503:
      return "unavailable_error";
    case 504:
      return "timeout_error";
    default:
      return status < 500 ? "invalid_request_error" : "server_error";
  }
}

std::string error_json(const ApiError& error) {
  std::string out = "{\"error\":{\"message\":";
  append_json_string(out, error.message);
  out += ",\"type\":";
  append_json_string(out, error_type(error.status));
  out += ",\"param\":";
  append_json_string_or_null(out, error.param);
  out += ",\"code\":";
  append_json_string_or_null(out, error.code);
  out += "}}";
  return out;
}

HttpReply error_reply(const ApiError& error) {
  HttpReply reply{.status = error.status, .body = error_json(error)};
  if (error.retry_after_seconds > 0) {
    reply.headers.emplace_back("Retry-After", std::to_string(error.retry_after_seconds));
  }
  if (error.status == 401) reply.headers.emplace_back("WWW-Authenticate", "Bearer");
  return reply;
}

}  // namespace farthing
