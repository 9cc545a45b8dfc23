// One call of an HTTP server, bounded in time and size.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace farthing {

// "http://host:port/base" in parts; no slash ends the base.
struct Url {
  std::string host, port, base;
};
// `flag` is what the error names.
Result<Url> parse_url(std::string_view text, std::string_view flag);

// The first line of a file; empty if there is no name of one.
Result<std::string> read_api_key(const std::string& file);

struct HttpAnswer {
  int status = 0;
  std::string body;
};
struct HttpCall {
  Url url;
  std::string path;  // behind the URL's own
  std::string api_key;
  double timeout_seconds = 60;
  size_t most_bytes = size_t{16} << 20;  // of an answer's body
};
// kNoResource if nobody answers within the time, or more than that.
Result<HttpAnswer> http_get(const HttpCall& call);
Result<HttpAnswer> http_post(const HttpCall& call, std::string json);

}  // namespace farthing
