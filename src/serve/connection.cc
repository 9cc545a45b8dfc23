#include "serve/connection.h"

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/field.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <exception>
#include <utility>

#include "base/utf8.h"

namespace farthing {

namespace asio = boost::asio;
namespace http = boost::beast::http;

namespace {

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);
constexpr size_t kBufferLimit = 64u << 10;  // more than the header limit; also bounds pipelining
constexpr uint64_t kSkippedBody = 64u
                                  << 10;  // read rather than close when the head alone is refused
// An answer so short is kept for its reader however much others leave unread.
constexpr uint64_t kShortAnswer = 16u << 10;
constexpr size_t kLargeBody = 1u << 20;
constexpr uint64_t kLingerBytes = 64u << 20;
constexpr auto kLingerTime = std::chrono::seconds(2);
constexpr auto kCancelAgain = std::chrono::milliseconds(20);
constexpr auto kLookAgain = std::chrono::milliseconds(200);

using Outcome = std::variant<HttpReply, ApiCall>;

// Of the calling thread, which parses and tokenises beside the threads that compute.
void let_the_model_go_first() {
  constexpr int kNice = 10;
  thread_local const int done = setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice);
  (void)done;  // it only helps
}

// Runs on a worker thread: parsing and tokenising a big body would hold up every stream.
asio::awaitable<Outcome> handle_apart(const Routes& routes,
                                      const HttpRequest& request,
                                      ServerMoment moment,
                                      const std::atomic<bool>& gone) {
  let_the_model_go_first();
  try {
    if (gone) co_return HttpReply();  // for nobody
    Outcome outcome = routes.handle(request, moment);
    // The tree of a large body's JSON leaves the heap full of holes, which malloc would keep.
    if (request.body.size() > kLargeBody) malloc_trim(0);
    co_return outcome;
  } catch (const std::exception& exception) {
    co_return error_reply({.status = 500, .message = exception.what(), .code = "internal_error"});
  }
}

// What a parser's complaint means to the client.
ApiError parse_fault(const boost::system::error_code& code, const ServerOptions& options) {
  if (code == http::error::header_limit || code == http::error::buffer_overflow) {
    return {.status = 431,
            .message = fmt::format("the headers are longer than {} bytes", options.header_limit),
            .code = "headers_too_large"};
  }
  if (code == http::error::body_limit) {
    return {.status = 413,
            .message = fmt::format("the body is longer than {} bytes", options.body_limit),
            .code = "body_too_large"};
  }
  return {.status = 400,
          .message = fmt::format("this is not valid HTTP: {}", code.message()),
          .code = "bad_http"};
}

ApiError slow_client(std::string_view what) {
  return {.status = 408,
          .message = fmt::format("the {} did not arrive in time", what),
          .code = "client_timeout"};
}

ApiError overloaded(std::string_view what) {
  return {.status = 503,
          .message = fmt::format("too many large {} at once; try again later", what),
          .code = "overloaded",
          .retry_after_seconds = 2};
}

}  // namespace

Connection::Connection(ClientStream::Socket socket, ServerContext& server)
    : stream_(std::move(socket), server.tls),
      server_(server),
      deadline_(server.io),
      wake_(server.io),
      look_(server.io),
      buffer_(kBufferLimit),
      body_share_(server.body_bytes),
      answer_share_(server.answer_bytes) {
  server_.connections.insert(this);
}

Connection::~Connection() {
  server_.connections.erase(this);
  if (server_.on_change) server_.on_change();
}

asio::awaitable<void> Connection::run() {
  try {
    if (co_await shake_hands()) {
      while (co_await serve_one()) {
      }
      busy_ = false;
      arm(kLingerTime);
      if (!gone_) co_await stream_.finish();
    }
  } catch (const std::exception& exception) {
    if (server_.options.log) {
      server_.options.log(ServerOptions::LogLevel::kWarning,
                          fmt::format("connection dropped: {}", exception.what()));
    }
  }
  close();
  busy_ = false;
}

void Connection::close() {
  deadline_.cancel();
  wake_.cancel();
  look_.cancel();
  stream_.close();
}

void Connection::arm(ServerOptions::Duration timeout) {
  deadline_.expires_after(timeout);
  deadline_.async_wait([weak = weak_from_this()](boost::system::error_code code) {
    const auto self = weak.lock();
    if (code || !self || self->deadline_.expiry() > asio::steady_timer::clock_type::now()) return;
    self->timed_out_ = true;
    self->stream_.cancel();
    self->arm(kCancelAgain);  // until whoever waits has noticed: see stop_watching()
  });
}

asio::awaitable<bool> Connection::shake_hands() {
  arm(server_.options.header_timeout);
  const boost::system::error_code code = co_await stream_.handshake();
  deadline_.cancel();
  if (code && code != asio::error::operation_aborted && server_.options.log) {
    server_.options.log(ServerOptions::LogLevel::kInfo,
                        fmt::format("TLS handshake failed: {}", code.message()));
  }
  co_return !code;
}

asio::awaitable<bool> Connection::serve_one() {
  busy_ = false;
  if (server_.on_change) server_.on_change();
  if (server_.draining && !first_request_) co_return false;

  Parser parser;
  parser.eager(false);
  parser.header_limit(server_.options.header_limit);
  parser.body_limit(server_.options.body_limit);
  const Read head = co_await read_head(parser);
  first_request_ = false;
  Exchange exchange = describe(parser);
  if (head == Read::kClosed) co_return false;
  if (head == Read::kFailed) {
    co_await refuse(exchange, read_error_);
    co_return false;
  }
  if (auto fault = framing_fault(parser)) {
    co_await refuse(exchange, std::move(*fault));
    co_return false;
  }

  auto settled = server_.routes.precheck(exchange.request.head, moment(exchange));
  if (!settled) {
    // Before the work of reading and tokenising a prompt that can't be answered anyway.
    const auto caller = server_.routes.caller_of_call(exchange.request.head);
    auto refusal = caller ? server_.calls.refusal(1, *caller) : std::nullopt;
    if (refusal) settled = error_reply(*std::move(refusal));
  }
  if (settled && (exchange.expects_continue || exchange.announced_body > kSkippedBody)) {
    exchange.frame.keep_alive = false;
    co_await send_reply(exchange, std::move(*settled));
    co_await linger();
    co_return false;
  }
  if (exchange.expects_continue && buffer_.size() == 0) {
    const bool sent = co_await send("HTTP/1.1 100 Continue\r\n\r\n");
    if (!sent) co_return false;
  }
  const Read body = co_await read_body(parser);
  if (body == Read::kClosed) co_return false;
  if (body == Read::kFailed) {
    co_await refuse(exchange, read_error_);
    co_return false;
  }
  if (settled) body_share_.set(0);
  if (settled) co_return co_await send_reply(exchange, std::move(*settled));
  exchange.request.body = std::move(parser.get().body());
  co_return co_await answer(exchange);
}

// More bytes into the buffer; false at the end of the stream, after an error or a timeout.
asio::awaitable<bool> Connection::read_some() {
  if (gone_) co_return false;  // watch() took the end of the stream: it is not told twice
  const size_t room = kBufferLimit - buffer_.size();
  const auto [code, n] =
      co_await stream_.async_read_some(buffer_.prepare(std::min<size_t>(room, 16384)), kNoThrow);
  buffer_.commit(n);
  co_return !code && !timed_out_;
}

asio::awaitable<Connection::Read> Connection::read_head(Parser& parser) {
  const ServerOptions& options = server_.options;
  timed_out_ = false;
  arm(first_request_ ? options.header_timeout : options.idle_timeout);
  size_t head_bytes = 0;
  while (true) {
    if (buffer_.size() > 0) {
      if (!busy_ && !first_request_) arm(options.header_timeout);
      busy_ = true;
      boost::system::error_code code;
      const size_t used = parser.put(buffer_.data(), code);
      buffer_.consume(used);
      head_bytes += used;
      // The parser forgets what it took of a head that comes in pieces; this doesn't.
      const size_t open_bytes = parser.is_header_done() ? 0 : buffer_.size();
      if (head_bytes + open_bytes > options.header_limit) code = http::error::header_limit;
      if (code && code != http::error::need_more) {
        read_error_ = parse_fault(code, options);
        co_return Read::kFailed;
      }
      if (parser.is_header_done()) co_return Read::kDone;
    }
    const bool more = co_await read_some();
    if (more) continue;
    if (!timed_out_ || !busy_) co_return Read::kClosed;
    read_error_ = slow_client("head of the request");
    co_return Read::kFailed;
  }
}

asio::awaitable<Connection::Read> Connection::read_body(Parser& parser) {
  const ServerOptions& options = server_.options;
  const auto started = asio::steady_timer::clock_type::now();
  timed_out_ = false;
  while (!parser.is_done()) {
    boost::system::error_code code;
    const size_t used = buffer_.size() > 0 ? parser.put(buffer_.data(), code) : 0;
    buffer_.consume(used);
    if (code && code != http::error::need_more) {
      read_error_ = parse_fault(code, options);
      co_return Read::kFailed;
    }
    const uint64_t received = parser.get().body().size();
    if (body_share_.set(received) > options.bodies_limit) {
      read_error_ = overloaded("requests are being read");
      co_return Read::kFailed;
    }
    if (used > 0 || parser.is_done()) continue;
    if (buffer_.size() == kBufferLimit) {  // a chunk header without end
      read_error_ = parse_fault(http::error::bad_chunk, options);
      co_return Read::kFailed;
    }
    const auto allowed = options.body_timeout + std::chrono::seconds(received >> 16);
    arm(std::chrono::duration_cast<ServerOptions::Duration>(started + allowed -
                                                            asio::steady_timer::clock_type::now()));
    const bool more = co_await read_some();
    if (more) continue;
    if (!timed_out_) co_return Read::kClosed;
    read_error_ = slow_client("body");
    co_return Read::kFailed;
  }
  deadline_.cancel();
  co_return Read::kDone;
}

Connection::Exchange Connection::describe(const Parser& parser) const {
  const auto& message = parser.get();
  const auto text = [&](auto name) { return std::string(message[name]); };
  Exchange exchange;
  HttpHead& head = exchange.request.head;
  head.method = std::string(message.method_string());
  head.target = std::string(message.target());
  head.host = text(http::field::host);
  head.content_type = text(http::field::content_type);
  head.content_encoding = text(http::field::content_encoding);
  head.authorization = text(http::field::authorization);
  head.api_key = text("X-Api-Key");
  head.origin = text(http::field::origin);
  exchange.made_id = fmt::format("{:016x}{:016x}", server_.random(), server_.random());
  exchange.started = Clock::now();
  exchange.frame = {.http_1_0 = message.version() < 11,
                    .head_only = head.method == "HEAD",
                    .keep_alive = message.keep_alive() && !server_.draining,
                    .request_id = request_id_of(text("X-Request-Id"), exchange.made_id),
                    .date = std::chrono::system_clock::now()};
  if (parser.is_header_done()) {
    exchange.expects_continue = !text(http::field::expect).empty();
    exchange.announced_body =
        parser.chunked() ? server_.options.body_limit : parser.content_length().value_or(0);
  }
  return exchange;
}

// What the parser lets pass but two parties could read differently (RFC 9112 section 11.2):
// refused, not repaired.
std::optional<ApiError> Connection::framing_fault(const Parser& parser) const {
  const auto& message = parser.get();
  const size_t lengths = message.count(http::field::content_length);
  const size_t codings = message.count(http::field::transfer_encoding);
  const auto bad = [](std::string_view why) {
    return ApiError{.status = 400, .message = std::string(why), .code = "bad_http"};
  };
  if (lengths > 1 || codings > 1) return bad("the request states the length of its body twice");
  if (lengths > 0 && codings > 0)
    return bad("Content-Length and Transfer-Encoding exclude each other");
  const std::string_view length = message[http::field::content_length];
  if (length.find_first_not_of("0123456789") != length.npos)
    return bad("Content-Length must be one number");
  if (codings > 0 && message.version() < 11) return bad("HTTP/1.0 has no Transfer-Encoding");
  if (codings > 0 && !boost::beast::iequals(message[http::field::transfer_encoding], "chunked")) {
    return bad("the only Transfer-Encoding understood is chunked");
  }
  if (message.version() >= 11 && message.count(http::field::host) != 1) {
    return bad("HTTP/1.1 needs exactly one Host header");
  }
  const auto expect = message[http::field::expect];
  if (!expect.empty() && !boost::beast::iequals(expect, "100-continue")) {
    return ApiError{.status = 417,
                    .message = "the only expectation understood is 100-continue",
                    .code = "bad_expectation"};
  }
  return std::nullopt;
}

asio::awaitable<bool> Connection::answer(Exchange& exchange) {
  const ServerMoment moment = this->moment(exchange);
  watch();
  Outcome outcome;
  if (exchange.request.body.empty()) {
    outcome = server_.routes.handle(exchange.request, moment);
  } else {
    outcome = co_await asio::co_spawn(server_.workers,
                                      handle_apart(server_.routes, exchange.request, moment, gone_),
                                      asio::use_awaitable);
  }
  std::string().swap(exchange.request.body);
  body_share_.set(0);
  if (gone_) co_return false;
  if (auto* call = std::get_if<ApiCall>(&outcome)) {
    co_return co_await run_call(exchange, std::move(*call));
  }
  co_await stop_watching();
  co_return co_await send_reply(exchange, std::get<HttpReply>(std::move(outcome)));
}

asio::awaitable<bool> Connection::run_call(Exchange& exchange, ApiCall call) {
  auto started = server_.calls.start(std::move(call), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->wake_.cancel();
  });
  if (auto* error = std::get_if<ApiError>(&started)) {
    co_await stop_watching();
    co_return co_await send_reply(exchange, error_reply(*error));
  }
  const auto running = std::get<std::shared_ptr<RunningCall>>(std::move(started));
  const bool chat = running->call.kind == ApiKind::kChat;
  ApiResponse response(running->call,
                       server_.backend,
                       (chat ? "chatcmpl-" : "cmpl-") + exchange.made_id,
                       std::chrono::system_clock::to_time_t(exchange.frame.date));
  bool keep = false;
  if (running->call.stream) {
    keep = co_await run_stream(exchange, *running, response);
  } else {
    keep = co_await run_plain(exchange, *running, response);
  }
  // A no-op for the engine if everything has ended, as it has unless the client left or something
  // failed.
  server_.calls.abandon(*running);
  co_return keep;
}

void Connection::take_events(Exchange& exchange,
                             RunningCall& running,
                             ApiResponse& response,
                             std::string* out) {
  if (response.finished()) return;
  for (const auto& [prompt, event] : server_.calls.take(running)) response.add(prompt, event, out);
  if (!response.finished()) return;
  const std::string& request_id = exchange.frame.request_id;
  const int status = response.failure() ? response.failure()->status : 200;
  server_.log.add({.caller = running.call.requests.front().caller,
                   .id = response.id(),
                   .request_id = request_id,
                   .explanation = response.explanation(request_id, status)});
}

asio::awaitable<bool> Connection::run_plain(Exchange& exchange,
                                            RunningCall& running,
                                            ApiResponse& response) {
  while (true) {
    take_events(exchange, running, response, nullptr);
    if (response.finished() || gone_ || running.overflowed) break;
    if (response.held_bytes() > server_.options.answer_limit) break;
    if (!may_hold(response.held_bytes())) break;
    co_await wait_for_events(std::chrono::hours(1));
  }
  if (gone_) {
    log(exchange, 499, &response);
    co_return false;
  }
  co_await stop_watching();
  HttpReply reply;
  if (response.finished()) {
    reply = response.reply();
  } else if (running.overflowed || !may_hold(response.held_bytes())) {
    reply = error_reply(overloaded("answers wait for their readers"));
  } else {
    reply = error_reply({.status = 400,
                         .message =
                             "the answer is too large to be sent in one piece: use stream, fewer "
                             "logprobs or a smaller max_tokens",
                         .code = "answer_too_large"});
  }
  const auto& unknown = running.call.unknown_fields;
  if (!unknown.empty()) {
    reply.headers.emplace_back("X-Farthing-Warning", unknown_fields_warning(unknown));
  }
  co_return co_await send_reply(exchange, std::move(reply), &response);
}

asio::awaitable<bool> Connection::run_stream(Exchange& exchange,
                                             RunningCall& running,
                                             ApiResponse& response) {
  HttpReply head{.status = 200, .content_type = "text/event-stream; charset=utf-8"};
  finish_headers(exchange, &head);
  const auto& unknown = running.call.unknown_fields;
  if (!unknown.empty()) {
    head.headers.emplace_back("X-Farthing-Warning", unknown_fields_warning(unknown));
  }
  if (exchange.frame.http_1_0) exchange.frame.keep_alive = false;
  const bool chunked = !exchange.frame.http_1_0;
  std::string bytes = stream_head_bytes(head, exchange.frame);
  auto last_ping = Clock::now();
  bool ended = false;
  while (!ended) {
    std::string events;
    take_events(exchange, running, response, &events);
    if (running.overflowed) {
      log(exchange, 499, &response);
      co_return false;
    }
    if (!response.has_token() && Clock::now() - last_ping >= server_.options.ping_interval) {
      events += kSsePing;
      last_ping = Clock::now();
    }
    if (!events.empty()) bytes += chunked ? chunk_bytes(events) : events;
    ended = response.finished();
    if (ended && chunked) bytes += kLastChunk;
    if (!bytes.empty()) {
      const bool sent = co_await send(std::exchange(bytes, {}));
      if (!sent) gone_ = true;
    }
    if (gone_) {
      log(exchange, 499, &response);
      co_return false;
    }
    if (!ended && running.inbox.empty()) {
      co_await wait_for_events(response.has_token() ? ServerOptions::Duration(std::chrono::hours(1))
                                                    : server_.options.ping_interval);
    }
  }
  log(exchange, response.failure() ? response.failure()->status : 200, &response);
  co_await stop_watching();
  co_return exchange.frame.keep_alive && !response.failure();
}

asio::awaitable<void> Connection::wait_for_events(ServerOptions::Duration timeout) {
  wake_.expires_after(timeout);
  co_await wake_.async_wait(kNoThrow);
}

// Reads on: the end of the stream means that the client left. Bytes that come are the next request,
// kept for later, up to a limit.
void Connection::watch() {
  watch_wanted_ = true;
  if (watching_ || gone_) return;
  if (buffer_.size() >= kBufferLimit / 2) return look_now_and_then();
  watching_ = true;
  stream_.async_read_some(buffer_.prepare(4096),
                          [self = shared_from_this()](boost::system::error_code code, size_t n) {
                            self->watching_ = false;
                            self->buffer_.commit(n);
                            if (code && code != asio::error::operation_aborted) self->gone_ = true;
                            if (self->gone_) self->wake_.cancel();
                            if (!code && self->watch_wanted_) self->watch();
                          });
}

// The end that stands behind bytes which nobody reads can't be read; the socket knows of it.
void Connection::look_now_and_then() {
  look_.expires_after(kLookAgain);
  look_.async_wait([weak = weak_from_this()](boost::system::error_code code) {
    const auto self = weak.lock();
    if (code || !self || !self->watch_wanted_) return;
    if (!self->stream_.peer_ended()) return self->look_now_and_then();
    self->gone_ = true;
    self->wake_.cancel();
  });
}

asio::awaitable<void> Connection::stop_watching() {
  watch_wanted_ = false;
  look_.cancel();
  // Again and again: a TLS read that had part of a record at hand goes on after a cancel().
  while (watching_) {
    stream_.cancel();
    co_await asio::post(server_.io, asio::use_awaitable);
  }
}

// Each piece the client takes buys it another stall timeout, as long as it reads at the least rate
// on the whole: a byte now and then would keep the rest here for ever.
asio::awaitable<bool> Connection::send(std::string bytes) {
  using SteadyClock = asio::steady_timer::clock_type;
  std::string_view rest = bytes;
  if (!may_hold(bytes.size())) co_return false;
  timed_out_ = false;
  const ServerOptions::Duration stall = server_.options.stall_timeout;
  const auto last =
      SteadyClock::now() + stall +
      std::chrono::milliseconds(bytes.size() * 1000 / server_.options.least_read_rate);
  while (!rest.empty()) {
    // By the clock, not by the timer alone: a write that finds room ends before a timer that is
    // due.
    const auto left =
        std::chrono::duration_cast<ServerOptions::Duration>(last - SteadyClock::now());
    if (left <= ServerOptions::Duration(0)) co_return false;
    arm(std::min(left, stall));
    const auto [code, n] =
        co_await stream_.async_write_some(asio::buffer(rest.data(), rest.size()), kNoThrow);
    if (code || timed_out_) co_return false;
    rest.remove_prefix(n);
  }
  deadline_.cancel();
  answer_share_.set(0);
  co_return true;
}

// Whether there is room for so much of an answer besides what all others have unread.
bool Connection::may_hold(uint64_t answer_bytes) {
  const uint64_t all = answer_share_.set(answer_bytes);
  return answer_bytes <= kShortAnswer || all <= server_.options.answers_limit;
}

void Connection::finish_headers(const Exchange& exchange, HttpReply* reply) const {
  for (auto& header : server_.routes.cors_headers(exchange.request.head.origin)) {
    reply->headers.push_back(std::move(header));
  }
}

asio::awaitable<bool> Connection::send_reply(Exchange& exchange,
                                             HttpReply reply,
                                             const ApiResponse* response) {
  if (!may_hold(reply.body.size())) {
    reply = error_reply(overloaded("answers wait for their readers"));
  }
  finish_headers(exchange, &reply);
  log(exchange, reply.status, response);
  std::string bytes = response_bytes(reply, exchange.frame);
  std::string().swap(reply.body);  // one copy is enough while the client reads
  const bool sent = co_await send(std::move(bytes));
  co_return sent&& exchange.frame.keep_alive;
}

asio::awaitable<void> Connection::refuse(Exchange& exchange, ApiError error) {
  exchange.frame.keep_alive = false;
  exchange.frame.head_only = false;
  co_await send_reply(exchange, error_reply(error));
  co_await linger();
}

// Closing with unread bytes would reset the connection and may destroy the answer before the client
// reads it.
asio::awaitable<void> Connection::linger() {
  stream_.end_of_writing();
  buffer_.clear();
  timed_out_ = false;
  arm(kLingerTime);
  std::array<char, 16384> sink;
  uint64_t total = 0;
  while (total < kLingerBytes && !timed_out_ && !gone_) {
    const auto [code, n] = co_await stream_.async_read_some(asio::buffer(sink), kNoThrow);
    if (code) break;
    total += n;
  }
}

ServerMoment Connection::moment(const Exchange& exchange) const {
  return {.now = exchange.started, .draining = server_.draining, .log = &server_.log};
}

void Connection::log(const Exchange& exchange, int status, const ApiResponse* response) const {
  server_.log.count_answer(status);
  if (!server_.options.log) return;
  const std::string path = printable(path_of(exchange.request.head.target), 64);
  std::string line =
      fmt::format("{} {} {} {:.1f}ms id={}",
                  exchange.request.head.method.empty() ? "-" : exchange.request.head.method,
                  path.empty() ? "-" : path,
                  status,
                  seconds_between(exchange.started, Clock::now()) * 1e3,
                  exchange.frame.request_id);
  if (response) {
    line += fmt::format(" prompt={} cached={} completion={} prefill={:.1f}ms decode={:.1f}ms",
                        response->usage().prompt_tokens,
                        response->usage().cached_tokens,
                        response->usage().completion_tokens,
                        response->timings().prefill_seconds * 1e3,
                        response->timings().decode_seconds * 1e3);
  }
  server_.options.log(
      status >= 500 ? ServerOptions::LogLevel::kWarning : ServerOptions::LogLevel::kInfo, line);
}

}  // namespace farthing
