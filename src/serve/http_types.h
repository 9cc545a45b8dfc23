// One HTTP request and one HTTP reply as plain values: what the routes see of the wire.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace farthing {

struct HttpHead {
  std::string method;  // "POST"
  std::string target;  // as on the request line: path and query
  std::string host;
  std::string content_type;
  std::string content_encoding;
  std::string authorization;
  std::string api_key;  // X-Api-Key
  std::string origin;
};

struct HttpRequest {
  HttpHead head;
  std::string body;
};

struct HttpReply {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
};

}  // namespace farthing
