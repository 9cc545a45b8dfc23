// One GET to an HTTP server, bounded in time and size.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace farthing {

// "http://host:port/base" in parts.
struct Url {
  std::string host, port, base;
};
// `flag` is what the error names.
Result<Url> parse_url(std::string_view text, std::string_view flag);

struct HttpAnswer {
  int status = 0;
  std::string body;
};
// kNoResource if nobody answers within the time; bodies beyond 16 MiB are refused.
Result<HttpAnswer> http_get(const Url& url,
                            const std::string& path,
                            const std::string& api_key,
                            double timeout_seconds);

}  // namespace farthing
