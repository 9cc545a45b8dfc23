#include "serve/http_format.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <iterator>

namespace farthing {

namespace {

std::string head_bytes(const HttpReply& reply,
                       const ResponseFrame& frame,
                       std::string_view length_header) {
  std::string out = fmt::format(
      "HTTP/1.{} {} {}\r\n", frame.http_1_0 ? 0 : 1, reply.status, reason_phrase(reply.status));
  // RFC 9110 section 5.6.7; %a and %b are the C locale's, which the server never leaves.
  fmt::format_to(std::back_inserter(out),
                 "Date: {:%a, %d %b %Y %H:%M:%S} GMT\r\n",
                 fmt::gmtime(std::chrono::system_clock::to_time_t(frame.date)));
  out += "Server: farthing\r\n";
  if (reply.status != 204) {
    fmt::format_to(std::back_inserter(out), "Content-Type: {}\r\n", reply.content_type);
  }
  out += length_header;
  if (!frame.request_id.empty()) {
    fmt::format_to(std::back_inserter(out), "X-Request-Id: {}\r\n", frame.request_id);
  }
  for (const auto& [name, value] : reply.headers) {
    fmt::format_to(std::back_inserter(out), "{}: {}\r\n", name, value);
  }
  out += frame.keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  return out;
}

}  // namespace

std::string response_bytes(const HttpReply& reply, const ResponseFrame& frame) {
  std::string length;
  if (reply.status != 204) length = fmt::format("Content-Length: {}\r\n", reply.body.size());
  std::string out = head_bytes(reply, frame, length);
  if (!frame.head_only) out += reply.body;
  return out;
}

std::string stream_head_bytes(const HttpReply& reply, const ResponseFrame& frame) {
  return head_bytes(reply,
                    frame,
                    frame.http_1_0 ? "Cache-Control: no-cache\r\n"
                                   : "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n");
}

std::string chunk_bytes(std::string_view data) {
  std::string out = fmt::format("{:x}\r\n", data.size());
  out += data;
  out += "\r\n";
  return out;
}

std::string request_id_of(std::string_view given, const std::string& made) {
  const bool good =
      !given.empty() && given.size() <= 128 &&
      std::all_of(given.begin(), given.end(), [](char c) { return c > 0x20 && c < 0x7F; });
  return good ? std::string(given) : made;
}

std::string unknown_fields_warning(const std::vector<std::string>& names) {
  constexpr size_t kMaxNames = 8;
  constexpr size_t kMaxBytes = 64;
  std::string out = "unknown field ";
  for (size_t i = 0; i < std::min(names.size(), kMaxNames); ++i) {
    if (i > 0) out += ", ";
    for (const char c : names[i].substr(0, kMaxBytes)) {
      const bool safe =
          std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.';
      out += safe ? c : '?';
    }
  }
  if (names.size() > kMaxNames) out += fmt::format(" and {} more", names.size() - kMaxNames);
  return out;
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return "Unknown";
  }
}

}  // namespace farthing
