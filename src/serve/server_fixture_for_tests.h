// A server over a FakeBackend on a free loopback port, its HTTP thread, and the three questions
// that every test ends with: is it well, does it still answer the same, and has it let go of
// everything.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "base/json.h"
#include "serve/fake_backend_for_tests.h"
#include "serve/http_client_for_tests.h"
#include "serve/http_server.h"

namespace farthing {

// What a client could make the process keep.
struct Footprint {
  ptrdiff_t files = 0;  // open file descriptors
  ptrdiff_t threads = 0;

  static Footprint now() {
    const auto entries = [](const char* folder) {
      return std::distance(std::filesystem::directory_iterator(folder),
                           std::filesystem::directory_iterator());
    };
    return {entries("/proc/self/fd"), entries("/proc/self/task")};
  }
  bool operator==(const Footprint&) const = default;
};

class ServerFixture : public ::testing::Test {
 protected:
  void start(ServerOptions options = {}, RouteOptions routes = {}) {
    options.port = 0;
    auto server = HttpServer::start(backend_, std::move(routes), std::move(options));
    ASSERT_TRUE(server) << server.error().message;
    server_ = *std::move(server);
    port_ = server_->port();
    thread_ = std::thread([this] { drained_ = server_->run(); });
  }
  void TearDown() override { stop(); }
  void stop() {
    if (!thread_.joinable()) return;
    server_->drain();
    thread_.join();
    EXPECT_TRUE(drained_);
  }

  TestResponse exchange(std::string_view raw) {
    TestClient client(port_);
    client.send(raw);
    return client.read_response();
  }
  TestResponse complete(std::string_view body) {
    TestClient client(port_);
    client.post("/v1/completions", body);
    return client.read_response();
  }
  void expect_well() {
    TestClient client(port_);
    ASSERT_TRUE(client.get("/health"));
    EXPECT_EQ(client.read_response().status, 200);
    ASSERT_TRUE(client.post("/v1/completions", R"({"prompt":"canary","max_tokens":99,"seed":1})"));
    const TestResponse r = client.read_response();
    ASSERT_EQ(r.status, 200) << r.body;
    EXPECT_EQ(Json::parse(r.body)["choices"][0]["text"], FakeBackend::kAnswer);
  }
  // File descriptors and threads are (within 10 s) those of `baseline`: taken with no client there,
  // after expect_well() has made the server start what it needs.
  void expect_back_at(const Footprint& baseline) {
    Footprint is = Footprint::now();
    for (int i = 0; i < 2000 && is != baseline; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      is = Footprint::now();
    }
    EXPECT_EQ(is.files, baseline.files) << "file descriptors";
    EXPECT_EQ(is.threads, baseline.threads) << "threads";
  }
  // Waits until the backend has nothing to do; true if that came to be within 5 s.
  bool backend_idle() {
    for (int i = 0; i < 1000; ++i) {
      if (backend_.n_running() == 0) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  bool backend_has(uint32_t submitted) {
    for (int i = 0; i < 1000; ++i) {
      if (backend_.n_submitted() >= submitted) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  FakeBackend backend_;
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
  bool drained_ = false;  // what run() gave, once the thread has ended
  uint16_t port_ = 0;
};

}  // namespace farthing
