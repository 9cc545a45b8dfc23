// The head of an HTTP/1.1 response as bytes, and the small rules of header values.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "serve/http_types.h"

namespace farthing {

// How one response is framed on its connection.
struct ResponseFrame {
  bool http_1_0 = false;
  bool head_only = false;  // the answer to HEAD: headers without the body
  bool keep_alive = true;
  std::string request_id;
  std::chrono::system_clock::time_point date;
};

// A whole response.
std::string response_bytes(const HttpReply& reply, const ResponseFrame& frame);
// The head of an event stream; chunked for HTTP/1.1, ended by the close of the connection for
// HTTP/1.0.
std::string stream_head_bytes(const HttpReply& reply, const ResponseFrame& frame);
// One chunk of a chunked body; the empty chunk that ends it is kLastChunk.
std::string chunk_bytes(std::string_view data);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

// The client's X-Request-Id if it is 1 to 128 printable ASCII characters without spaces, else
// `made`.
std::string request_id_of(std::string_view given, const std::string& made);

// "unknown field a, b": at most a few names, each of safe characters only.
std::string unknown_fields_warning(const std::vector<std::string>& names);

std::string_view reason_phrase(int status);

}  // namespace farthing
