// Owns: the listening socket, the HTTP thread's event loop, its connections, and two threads that
// parse and tokenise. Does not know: what the paths mean (serve/routes.h), how tokens come about
// (serve/backend.h). Invariant: after drain() no new call starts; run() returns when the last one
// has ended and its answer is sent, or when the drain timeout has cut it off.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "serve/backend.h"
#include "serve/calls.h"
#include "serve/routes.h"
#include "serve/tls.h"

namespace farthing {

struct ServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8080;       // 0: any free one
  bool allow_public = false;  // a host that isn't loopback
  TlsFiles tls;
  bool handle_signals = false;  // SIGTERM and SIGINT drain; a second one cancels what runs
  CallLimits calls;

  using Duration = std::chrono::milliseconds;
  Duration drain_timeout = std::chrono::seconds(30);
  Duration cut_off_timeout = std::chrono::seconds(5);  // for cancelled answers to get out
  Duration header_timeout = std::chrono::seconds(10);
  Duration idle_timeout = std::chrono::seconds(75);   // of a kept connection between requests
  Duration body_timeout = std::chrono::seconds(60);   // plus a second per 64 KiB that came
  Duration stall_timeout = std::chrono::seconds(60);  // of a client that doesn't read
  int64_t least_read_rate = 16 << 10;  // bytes a second, else its answer is cut off after the same
  Duration ping_interval = std::chrono::seconds(15);  // of a stream without a token yet

  uint32_t header_limit = 32u << 10;    // bytes
  uint64_t body_limit = 8u << 20;       // bytes of one body
  uint64_t bodies_limit = 128u << 20;   // bytes of all bodies being read or parsed
  uint64_t answer_limit = 32u << 20;    // bytes of an answer that isn't streamed
  uint64_t answers_limit = 128u << 20;  // bytes of all answers that their clients haven't read
  int32_t max_connections = 4096;

  enum class LogLevel { kInfo, kWarning };
  std::function<void(LogLevel, const std::string&)> log;  // never content, never keys; HTTP thread
};

class HttpServer {
 public:
  // kUsage for a public host without allow_public, kNoResource if the address is taken,
  // load_tls()'s errors. `backend` must outlive it.
  static Result<std::unique_ptr<HttpServer>> start(Backend& backend,
                                                   RouteOptions routes,
                                                   ServerOptions options);
  ~HttpServer();

  std::string host() const;  // the address it listens on
  uint16_t port() const;
  // The calling thread becomes the HTTP thread. False if the backend did not end its requests when
  // they were cancelled at the end of the drain.
  bool run();
  void drain();  // any thread

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace farthing
