#include "measure/http_get.h"

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

namespace farthing {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;

constexpr size_t kMostBodyBytes = size_t{16} << 20;

// The parser, filled, or `fault`.
asio::awaitable<void> exchange(asio::io_context& io,
                               const Url& url,
                               const http::request<http::empty_body>& call,
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
  co_await http::async_write(stream, call, told());
  if (fault) co_return;
  beast::flat_buffer buffer;
  co_await http::async_read(stream, buffer, parser, told());
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

Result<HttpAnswer> http_get(const Url& url,
                            const std::string& path,
                            const std::string& api_key,
                            double timeout_seconds) {
  http::request<http::empty_body> call(http::verb::get, url.base + path, 11);
  call.set(http::field::host, url.host + ":" + url.port);
  call.set(http::field::connection, "close");
  if (!api_key.empty()) call.set(http::field::authorization, "Bearer " + api_key);
  asio::io_context io;
  http::response_parser<http::string_body> parser;
  parser.body_limit(kMostBodyBytes);
  boost::system::error_code fault;
  asio::co_spawn(io,
                 exchange(io,
                          url,
                          call,
                          std::chrono::milliseconds(static_cast<int64_t>(timeout_seconds * 1e3)),
                          parser,
                          fault),
                 asio::detached);
  io.run();
  if (fault) return no_resource("{}:{}: {}", url.host, url.port, fault.message());
  return HttpAnswer{.status = parser.get().result_int(), .body = std::move(parser.get().body())};
}

}  // namespace farthing
