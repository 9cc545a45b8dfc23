#include "measure/http_call.h"

#include <algorithm>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <utility>

#include "base/mapped_file.h"

namespace farthing {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;

constexpr size_t kMostKeyBytes = 1 << 16;

// The parser, filled, or `fault`.
asio::awaitable<void> exchange(asio::io_context& io,
                               const Url& url,
                               const http::request<http::string_body>& request,
                               std::chrono::milliseconds timeout,
                               http::response_parser<http::string_body>& parser,
                               boost::system::error_code& fault) {
  const auto told = [&] { return asio::redirect_error(asio::use_awaitable, fault); };
  tcp::resolver resolver(io);
  const auto addresses = co_await resolver.async_resolve(url.host, url.port, told());
  if (fault) co_return;
  beast::tcp_stream stream(io);
  stream.expires_after(timeout);
  co_await stream.async_connect(addresses, told());
  if (fault) co_return;
  co_await http::async_write(stream, request, told());
  if (fault) co_return;
  beast::flat_buffer buffer;
  co_await http::async_read(stream, buffer, parser, told());
}

Result<HttpAnswer> made(const HttpCall& call, http::verb verb, std::string body) {
  http::request<http::string_body> request(verb, call.url.base + call.path, 11, std::move(body));
  request.set(http::field::host, call.url.host + ":" + call.url.port);
  request.set(http::field::connection, "close");
  if (!call.api_key.empty()) request.set(http::field::authorization, "Bearer " + call.api_key);
  if (verb == http::verb::post) {
    request.set(http::field::content_type, "application/json");
    request.prepare_payload();
  }
  asio::io_context io;
  http::response_parser<http::string_body> parser;
  parser.body_limit(call.most_bytes);
  boost::system::error_code fault;
  const std::chrono::milliseconds timeout(static_cast<int64_t>(call.timeout_seconds * 1e3));
  asio::co_spawn(io, exchange(io, call.url, request, timeout, parser, fault), asio::detached);
  io.run();
  if (fault) return no_resource("{}:{}: {}", call.url.host, call.url.port, fault.message());
  return HttpAnswer{.status = parser.get().result_int(), .body = std::move(parser.get().body())};
}

}  // namespace

Result<Url> parse_url(std::string_view text, std::string_view flag) {
  constexpr std::string_view kScheme = "http://";
  if (!text.starts_with(kScheme))
    return usage_error("{} {}: give http://HOST:PORT (TLS isn't spoken here)", flag, text);
  const std::string_view whole = text;
  text.remove_prefix(kScheme.size());
  Url url{.port = "80"};
  const size_t slash = std::min(text.find('/'), text.size());
  url.base = text.substr(slash);
  while (url.base.ends_with('/')) url.base.pop_back();
  std::string_view host = text.substr(0, slash);
  const size_t colon = host.rfind(':');
  if (colon != host.npos && host.find(']', colon) == host.npos) {
    url.port = host.substr(colon + 1);
    host = host.substr(0, colon);
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  url.host = host;
  if (url.host.empty() || url.port.empty())
    return usage_error("{} {}: there is no host", flag, whole);
  return url;
}

Result<std::string> read_api_key(const std::string& file) {
  if (file.empty()) return std::string();
  FARTHING_TRY(const std::string text, read_file(file, kMostKeyBytes));
  return text.substr(0, text.find_first_of("\r\n"));
}

Result<HttpAnswer> http_get(const HttpCall& call) {
  return made(call, http::verb::get, "");
}

Result<HttpAnswer> http_post(const HttpCall& call, std::string json) {
  return made(call, http::verb::post, std::move(json));
}

}  // namespace farthing
