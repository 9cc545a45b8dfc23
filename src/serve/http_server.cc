#include "serve/http_server.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <csignal>
#include <utility>
#include <vector>

#include "serve/connection.h"

namespace farthing {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);
constexpr int kWorkers = 2;

Result<tcp::endpoint> resolve(asio::io_context& io, const ServerOptions& options) {
  boost::system::error_code code;
  const std::string host = options.host == "localhost" ? "127.0.0.1" : options.host;
  auto address = asio::ip::make_address(host, code);
  if (code) {
    tcp::resolver resolver(io);
    const auto found = resolver.resolve(host, "", code);
    if (code || found.empty()) {
      return usage_error("--host {}: no such address: {}", options.host, code.message());
    }
    address = found.begin()->endpoint().address();
  }
  if (!address.is_loopback() && !options.allow_public) {
    return usage_error(
        "--host {} can be reached from other machines, and anyone there could use this server: "
        "give an "
        "--api-key-file, or --insecure if that is what you want",
        options.host);
  }
  return tcp::endpoint(address, options.port);
}

}  // namespace

struct HttpServer::Impl {
  Impl(Backend& model_backend,
       RouteOptions route_options,
       ServerOptions server_options,
       std::unique_ptr<asio::ssl::context> tls_context)
      : context{io, workers, model_backend, routes, calls, options, tls_context.get(), server_log},
        options(std::move(server_options)),
        tls(std::move(tls_context)),
        io(1),
        routes(model_backend, std::move(route_options)),
        calls(model_backend,
              options.calls,
              [this](std::function<void()> work) { asio::post(io, std::move(work)); }),
        acceptor(io),
        signals(io),
        drain_timer(io),
        workers(kWorkers) {
    calls.on_idle([this] { check_drained(); });
    context.on_change = [this] { check_drained(); };
  }

  ~Impl() {
    workers.join();  // its jobs read the requests of suspended connections
    context.on_change = nullptr;
    calls.on_idle(nullptr);
  }

  Status listen() {
    FARTHING_TRY(const tcp::endpoint endpoint, resolve(io, options));
    boost::system::error_code code;
    acceptor.open(endpoint.protocol(), code);
    if (!code) acceptor.set_option(tcp::acceptor::reuse_address(true), code);
    if (!code) acceptor.bind(endpoint, code);
    if (!code) acceptor.listen(asio::socket_base::max_listen_connections, code);
    if (code) {
      return no_resource("can't listen on {}:{}: {}; choose another --port (0: any free one)",
                         options.host,
                         options.port,
                         code.message());
    }
    return {};
  }

  void log(ServerOptions::LogLevel level, const std::string& message) const {
    if (options.log) options.log(level, message);
  }

  asio::awaitable<void> accept_loop() {
    while (acceptor.is_open()) {
      auto [code, socket] = co_await acceptor.async_accept(kNoThrow);
      if (code == asio::error::operation_aborted) co_return;
      if (code) {  // out of file descriptors, or the client is already gone
        asio::steady_timer pause(io, std::chrono::milliseconds(50));
        co_await pause.async_wait(kNoThrow);
        continue;
      }
      try {
        accept(std::move(socket));
      } catch (const std::exception& exception) {  // no memory for it: the next one may do better
        log(ServerOptions::LogLevel::kWarning,
            fmt::format("connection refused: {}", exception.what()));
      }
    }
  }

  void accept(tcp::socket socket) {
    boost::system::error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    socket.set_option(asio::socket_base::keep_alive(true), ignored);
    if (static_cast<int32_t>(context.connections.size()) >= options.max_connections) {
      const ResponseFrame frame{.keep_alive = false, .date = std::chrono::system_clock::now()};
      const ApiError busy{.status = 503,
                          .message = "too many connections",
                          .code = "overloaded",
                          .retry_after_seconds = 2};
      // The buffer of a new socket takes this at once; a TLS client couldn't read it.
      if (!tls)
        asio::write(socket, asio::buffer(response_bytes(error_reply(busy), frame)), ignored);
      return;
    }
    auto connection = std::make_shared<Connection>(std::move(socket), context);
    asio::co_spawn(
        io, [connection]() -> asio::awaitable<void> { return connection->run(); }, asio::detached);
  }

  void wait_for_signal() {
    signals.async_wait([this](boost::system::error_code code, int) {
      if (code) return;
      if (context.draining) {
        cut_off("second signal");
      } else {
        begin_drain();
      }
      wait_for_signal();
    });
  }

  // New calls get a 503, /readyz too; the port stays open meanwhile so that this can be seen.
  void begin_drain() {
    if (context.draining) return;
    context.draining = true;
    log(ServerOptions::LogLevel::kInfo,
        fmt::format("draining: {} samples run or wait", calls.n_samples()));
    drain_timer.expires_after(options.drain_timeout);
    drain_timer.async_wait([this](boost::system::error_code code) {
      if (!code) cut_off("drain timeout");
    });
    const std::vector<Connection*> all(context.connections.begin(), context.connections.end());
    for (Connection* connection : all) {
      if (!connection->busy()) connection->close();
    }
    check_drained();
  }

  void cut_off(std::string_view why) {
    log(ServerOptions::LogLevel::kWarning,
        fmt::format("{}: cancelling {} samples", why, calls.n_samples()));
    calls.cancel_all();
    drain_timer.expires_after(options.cut_off_timeout);
    drain_timer.async_wait([this](boost::system::error_code code) {
      if (!code) io.stop();
    });
  }

  void check_drained() {
    if (!context.draining || drained || calls.n_samples() > 0) return;
    for (const Connection* connection : context.connections) {
      if (connection->busy()) return;
    }
    drained = true;
    log(ServerOptions::LogLevel::kInfo, "drained");
    io.stop();
  }

  bool drained = false;  // said so
  // First, so last destroyed: the event loop takes its connections with it, and they sign off here.
  ServerContext context;
  ServerOptions options;
  std::unique_ptr<asio::ssl::context> tls;
  ServerLog server_log;
  asio::io_context io;
  Routes routes;
  Calls calls;
  tcp::acceptor acceptor;
  asio::signal_set signals;
  asio::steady_timer drain_timer;
  asio::thread_pool workers;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::start(Backend& backend,
                                                      RouteOptions routes,
                                                      ServerOptions options) {
  FARTHING_TRY(std::unique_ptr<asio::ssl::context> tls, load_tls(options.tls));
  auto impl =
      std::make_unique<Impl>(backend, std::move(routes), std::move(options), std::move(tls));
  FARTHING_TRY_VOID(impl->listen());
  if (impl->options.handle_signals) {
    boost::system::error_code ignored;
    impl->signals.add(SIGTERM, ignored);
    impl->signals.add(SIGINT, ignored);
    impl->wait_for_signal();
  }
  asio::co_spawn(impl->io, impl->accept_loop(), asio::detached);
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

std::string HttpServer::host() const {
  boost::system::error_code ignored;
  return impl_->acceptor.local_endpoint(ignored).address().to_string();
}

uint16_t HttpServer::port() const {
  boost::system::error_code ignored;
  return impl_->acceptor.local_endpoint(ignored).port();
}

bool HttpServer::run() {
  impl_->io.run();
  return impl_->calls.n_samples() == 0;
}

void HttpServer::drain() {
  asio::post(impl_->io, [impl = impl_.get()] { impl->begin_drain(); });
}

}  // namespace farthing
