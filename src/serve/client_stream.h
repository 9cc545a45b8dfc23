// The bytes to and from one client: a socket, or TLS over it. Owns the socket.
#pragma once

#include <poll.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <optional>
#include <utility>

namespace farthing {

class ClientStream {
 public:
  using Socket = boost::asio::ip::tcp::socket;

  // `tls`: the listener's certificate and key; null for plain TCP.
  ClientStream(Socket socket, boost::asio::ssl::context* tls) : socket_(std::move(socket)) {
    if (tls) tls_.emplace(socket_, *tls);
  }
  ClientStream(const ClientStream&) = delete;
  ClientStream& operator=(const ClientStream&) = delete;

  // Before anything is read or written.
  boost::asio::awaitable<boost::system::error_code> handshake() {
    if (!tls_) co_return boost::system::error_code{};
    const auto [code] =
        co_await tls_->async_handshake(boost::asio::ssl::stream_base::server, kNoThrow);
    co_return code;
  }

  // As those of a socket. At most one of each at a time.
  template <class Buffer, class Token>
  auto async_read_some(const Buffer& buffer, Token&& token) {
    return tls_ ? tls_->async_read_some(buffer, std::forward<Token>(token))
                : socket_.async_read_some(buffer, std::forward<Token>(token));
  }
  template <class Buffer, class Token>
  auto async_write_some(const Buffer& buffer, Token&& token) {
    return tls_ ? tls_->async_write_some(buffer, std::forward<Token>(token))
                : socket_.async_write_some(buffer, std::forward<Token>(token));
  }

  // What is under way ends with operation_aborted; the stream can be used further.
  void cancel() {
    boost::system::error_code ignored;
    socket_.cancel(ignored);
  }
  // Nothing more will come from the client but what waits to be read, if anything.
  bool peer_ended() {
    pollfd ended{.fd = socket_.native_handle(), .events = POLLRDHUP, .revents = 0};
    return poll(&ended, 1, 0) > 0;
  }
  // Nothing more will be written: the client sees the end once it has read what was. (TLS 1.2 has
  // no such thing: see finish().)
  void end_of_writing() {
    boost::system::error_code ignored;
    if (!tls_) socket_.shutdown(Socket::shutdown_send, ignored);
  }
  // Says goodbye, which TLS asks for, and waits for the client's (RFC 8446, 6.1).
  boost::asio::awaitable<void> finish() {
    if (tls_ && socket_.is_open()) co_await tls_->async_shutdown(kNoThrow);
  }
  void close() {
    boost::system::error_code ignored;
    socket_.close(ignored);
  }

 private:
  static constexpr auto kNoThrow = boost::asio::as_tuple(boost::asio::use_awaitable);

  Socket socket_;
  std::optional<boost::asio::ssl::stream<Socket&>> tls_;
};

}  // namespace farthing
