// ApiError: a fault as the OpenAI API spells it: {"error":{"message","type","param","code"}} and
// its status.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "serve/http_types.h"

namespace farthing {

struct ApiError {
  int status = 400;
  std::string message;
  std::string param;  // the field at fault; null if empty
  std::string code;   // null if empty
  int retry_after_seconds = 0;
};

template <class... Args>
ApiError bad_field(std::string_view param, fmt::format_string<Args...> format, Args&&... args) {
  return {.status = 400,
          .message = fmt::format(format, std::forward<Args>(args)...),
          .param = std::string(param),
          .code = "invalid_value"};
}

// What a fault of the layers below means to the caller.
ApiError to_api_error(const Error& error, std::string_view param);

std::string_view error_type(int status);        // "invalid_request_error", "server_error"...
std::string error_json(const ApiError& error);  // {"error":{...}}
HttpReply error_reply(const ApiError& error);

}  // namespace farthing
