// Owns: one client's socket and what was read from it. Does not know: the listener, signals.
// One coroutine per connection, all on the HTTP thread: read a request, answer it, again.
// Invariant: at most one answer is being made; what else the client sends meanwhile waits in a
// bounded buffer.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <unordered_set>
#include <variant>

#include "serve/api_response.h"
#include "serve/byte_share.h"
#include "serve/calls.h"
#include "serve/client_stream.h"
#include "serve/http_format.h"
#include "serve/http_server.h"
#include "serve/http_types.h"
#include "serve/routes.h"
#include "serve/server_log.h"

namespace farthing {

class Connection;

// What the connections of one server share; HTTP thread only.
struct ServerContext {
  boost::asio::io_context& io;
  boost::asio::thread_pool& workers;
  Backend& backend;
  const Routes& routes;
  Calls& calls;
  const ServerOptions& options;
  boost::asio::ssl::context* tls;  // null: plain
  ServerLog& log;

  std::mt19937_64 random{std::random_device{}()};  // of ids that only have to differ
  bool draining = false;
  // Held by all connections: bodies that are read or parsed, answers that aren't sent yet.
  uint64_t body_bytes = 0;
  uint64_t answer_bytes = 0;
  std::unordered_set<Connection*> connections;
  std::function<void()> on_change;  // a connection became idle or went away
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(ClientStream::Socket socket, ServerContext& server);
  ~Connection();

  boost::asio::awaitable<void> run();
  bool busy() const { return busy_; }  // a request is being read or answered
  void close();

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  template <class T>
  using Awaitable = boost::asio::awaitable<T>;

  // One request on this connection, and how its answer is framed.
  struct Exchange {
    HttpRequest request;
    ResponseFrame frame;
    std::string made_id;  // for the object ids in the answer
    TimePoint started;
    bool expects_continue = false;
    uint64_t announced_body = 0;  // Content-Length; the limit if chunked
  };
  enum class Read { kDone, kClosed, kFailed };

  Awaitable<bool> shake_hands();
  Awaitable<bool> serve_one();  // false: close the connection
  Awaitable<Read> read_head(Parser& parser);
  Awaitable<Read> read_body(Parser& parser);
  Awaitable<bool> read_some();
  Exchange describe(const Parser& parser) const;
  std::optional<ApiError> framing_fault(const Parser& parser) const;

  Awaitable<bool> answer(Exchange& exchange);
  Awaitable<bool> run_call(Exchange& exchange, ApiCall call);
  Awaitable<bool> run_plain(Exchange& exchange, RunningCall& running, ApiResponse& response);
  Awaitable<bool> run_stream(Exchange& exchange, RunningCall& running, ApiResponse& response);
  // Also keeps what there is to say of the call once it has ended.
  void take_events(Exchange& exchange,
                   RunningCall& running,
                   ApiResponse& response,
                   std::string* out);

  Awaitable<bool> send(std::string bytes);
  // `response`: of a call, whose figures are logged.
  Awaitable<bool> send_reply(Exchange& exchange,
                             HttpReply reply,
                             const ApiResponse* response = nullptr);
  bool may_hold(uint64_t answer_bytes);
  Awaitable<void> refuse(Exchange& exchange, ApiError error);  // before the whole request was read
  Awaitable<void> linger();

  void arm(ServerOptions::Duration timeout);
  void watch();  // for the client leaving, while an answer is made
  void look_now_and_then();
  Awaitable<void> stop_watching();
  Awaitable<void> wait_for_events(ServerOptions::Duration timeout);
  void finish_headers(const Exchange& exchange, HttpReply* reply) const;
  ServerMoment moment(const Exchange& exchange) const;
  void log(const Exchange& exchange, int status, const ApiResponse* response) const;

  ClientStream stream_;
  ServerContext& server_;
  boost::asio::steady_timer deadline_;
  boost::asio::steady_timer wake_;
  boost::asio::steady_timer look_;
  boost::beast::flat_buffer buffer_;
  ApiError read_error_;  // after Read::kFailed
  ByteShare body_share_;
  ByteShare answer_share_;
  bool first_request_ = true;
  bool busy_ = false;
  bool timed_out_ = false;
  bool watch_wanted_ = false;
  bool watching_ = false;
  std::atomic<bool> gone_ = false;  // the client left; also read by the worker that has its body
};

}  // namespace farthing
