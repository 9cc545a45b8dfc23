#include "serve/http_server.h"

#include <atomic>
#include <chrono>
#include <string>
#include <vector>

#include "serve/server_fixture_for_tests.h"

namespace farthing {
namespace {

using namespace std::chrono_literals;

class HttpServerTest : public ServerFixture {};

TEST_F(HttpServerTest, PlainAnswer) {
  start();
  TestClient client(port_);
  client.post("/v1/chat/completions",
              R"({"messages":[{"role":"user","content":"Hi"}],"frobnicate":1})",
              "X-Request-Id: my-id\r\n");
  const TestResponse r = client.read_response();
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.headers.at("content-type"), "application/json");
  EXPECT_EQ(r.headers.at("x-request-id"), "my-id");
  EXPECT_EQ(r.headers.at("x-farthing-warning"), "unknown field frobnicate");
  EXPECT_EQ(r.headers.at("connection"), "keep-alive");
  const Json j = Json::parse(r.body);
  EXPECT_EQ(j["choices"][0]["message"]["content"], FakeBackend::kAnswer);
  EXPECT_TRUE(j["id"].get<std::string>().starts_with("chatcmpl-"));
  expect_well();
}

TEST_F(HttpServerTest, StreamedAnswerAndKeepAlive) {
  start();
  TestClient client(port_);
  for (int round = 0; round < 3; ++round) {
    client.post("/v1/chat/completions",
                R"({"messages":[{"role":"user","content":"Hi"}],"stream":true})");
    const TestResponse r = client.read_response();
    EXPECT_EQ(r.status, 200);
    EXPECT_TRUE(r.complete);
    EXPECT_EQ(r.headers.at("content-type"), "text/event-stream; charset=utf-8");
    EXPECT_TRUE(r.body.ends_with("data: [DONE]\n\n"));
    EXPECT_EQ(r.body.find("\"role\""), r.body.rfind("\"role\""));
  }
}

TEST_F(HttpServerTest, Http10StreamEndsWithTheConnection) {
  start();
  TestClient client(port_);
  const std::string body = R"({"prompt":"Hi","stream":true})";
  client.send(
      fmt::format("POST /v1/completions HTTP/1.0\r\nContent-Type: application/json\r\n"
                  "Content-Length: {}\r\n\r\n{}",
                  body.size(),
                  body));
  const TestResponse r = client.read_response();
  EXPECT_EQ(r.status, 200);
  EXPECT_FALSE(r.headers.contains("transfer-encoding"));
  EXPECT_TRUE(r.body.ends_with("data: [DONE]\n\n"));
  EXPECT_TRUE(client.at_end());
}

TEST_F(HttpServerTest, PipelinedRequestsAreAnsweredInOrder) {
  start();
  TestClient client(port_);
  std::string all;
  for (int i = 0; i < 5; ++i) {
    const std::string body = fmt::format(
        R"({{"prompt":"slow","max_tokens":{},"stream":{}}})", i + 1, i % 2 == 0 ? "false" : "true");
    all += fmt::format(
        "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        "X-Request-Id: r{}\r\nContent-Length: {}\r\n\r\n{}",
        i,
        body.size(),
        body);
  }
  client.send(all + "GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
  for (int i = 0; i < 5; ++i) {
    const TestResponse r = client.read_response();
    EXPECT_EQ(r.status, 200);
    EXPECT_EQ(r.headers.at("x-request-id"), fmt::format("r{}", i));
  }
  EXPECT_EQ(client.read_response().status, 200);
}

TEST_F(HttpServerTest, ChunkedBodyAndContinue) {
  start();
  TestClient client(port_);
  client.send(
      "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
      "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.read_response().status, 100);
  client.send("8;name=value\r\n{\"prompt\r\n");
  client.send("6\r\n\":\"a\"}\r\n0\r\nTrailer: x\r\n\r\n");
  EXPECT_EQ(client.read_response().status, 200);
  // What the head alone settles is answered before the body is asked for.
  TestClient other(port_);
  other.send(
      "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(other.read_response().status, 404);
}

TEST_F(HttpServerTest, ALeavingClientFreesItsWork) {
  start();
  uint32_t submitted = 0;
  for (const char* body : {R"({"prompt":"hold"})",
                           R"({"prompt":"hold","stream":true})",
                           R"({"prompt":["hold","hold"],"n":2})",
                           R"({"prompt":"slow","stream":true,"max_tokens":4000})"}) {
    SCOPED_TRACE(body);
    TestClient client(port_);
    client.post("/v1/completions", body);
    ASSERT_TRUE(backend_has(++submitted));
    client.close();
    EXPECT_TRUE(backend_idle());
    submitted = backend_.n_submitted();
  }
  EXPECT_GT(backend_.n_cancelled(), 0);
  expect_well();
}

TEST_F(HttpServerTest, PingsUntilTheFirstToken) {
  ServerOptions options;
  options.ping_interval = 20ms;
  start(options);
  TestClient client(port_);
  client.post("/v1/completions", R"({"prompt":"hold","stream":true,"timeout_ms":200})");
  const TestResponse r = client.read_response();
  EXPECT_EQ(r.status, 200);
  EXPECT_NE(r.body.find(": ping\n\n: ping"), std::string::npos) << r.body;
  EXPECT_NE(r.body.find("data: {\"error\":{"), std::string::npos) << r.body;
  EXPECT_NE(r.body.find("deadline_exceeded"), std::string::npos) << r.body;
  EXPECT_EQ(r.body.find("[DONE]"), std::string::npos) << r.body;
  EXPECT_TRUE(client.at_end());
}

TEST_F(HttpServerTest, DeadlineAndEngineFaults) {
  start();
  EXPECT_EQ(complete(R"({"prompt":"hold","timeout_ms":30})").status, 504);
  EXPECT_EQ(complete(R"({"prompt":"broken"})").status, 500);
  EXPECT_EQ(complete(R"({"prompt":"a","temperature":1.5})").status, 400);
  // One of several prompts fails: the others are cancelled.
  EXPECT_EQ(complete(R"({"prompt":["hold","broken"]})").status, 500);
  EXPECT_TRUE(backend_idle());
  expect_well();
}

TEST_F(HttpServerTest, AFullQueueSaysWhenToComeBack) {
  ServerOptions options;
  options.calls = {.max_seqs = 1, .max_queue = 1};
  start(options);
  std::vector<std::unique_ptr<TestClient>> clients;
  for (uint32_t i = 0; i < 2; ++i) {
    clients.push_back(std::make_unique<TestClient>(port_));
    clients.back()->post("/v1/completions", R"({"prompt":"hold"})");
    ASSERT_TRUE(backend_has(i + 1));
  }
  const TestResponse r = complete(R"({"prompt":"a"})");
  EXPECT_EQ(r.status, 503);
  EXPECT_GE(std::stoi(r.headers.at("retry-after")), 1);
  EXPECT_EQ(Json::parse(r.body)["error"]["code"], "queue_full");
  // Said before the prompt is read: a body that is no JSON gets the same.
  EXPECT_EQ(complete("{").status, 503);
  clients.clear();
  EXPECT_TRUE(backend_idle());
  // More samples than there is ever room for.
  const TestResponse never = complete(R"({"prompt":"a","n":3})");
  EXPECT_EQ(never.status, 400);
  EXPECT_EQ(Json::parse(never.body)["error"]["param"], "n");
  const TestResponse prompts = complete(R"({"prompt":["a","b","c"]})");
  EXPECT_EQ(prompts.status, 400);
  EXPECT_EQ(Json::parse(prompts.body)["error"]["param"], "prompt");
  EXPECT_EQ(complete(R"({"prompt":"a","n":2})").status, 200);
  expect_well();
}

TEST_F(HttpServerTest, ACallerHasNoMoreThanItsShare) {
  ServerOptions options;
  options.calls = {.max_seqs = 2, .max_queue = 2, .max_per_caller = 2};
  start(options, {.api_keys = {"first", "second"}});
  const auto ask = [&](TestClient& client, std::string_view key, std::string_view body) {
    client.send(
        fmt::format("POST /v1/completions HTTP/1.1\r\nHost: h\r\nX-Api-Key: {}\r\n"
                    "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
                    key,
                    body.size(),
                    body));
  };
  std::vector<std::unique_ptr<TestClient>> clients;
  for (uint32_t i = 0; i < 2; ++i) {
    clients.push_back(std::make_unique<TestClient>(port_));
    ask(*clients.back(), "first", R"({"prompt":"hold"})");
    ASSERT_TRUE(backend_has(i + 1));
  }
  TestClient greedy(port_);
  ask(greedy, "first", R"({"prompt":"a"})");
  const TestResponse refused = greedy.read_response();
  EXPECT_EQ(refused.status, 429);
  EXPECT_GE(std::stoi(refused.headers.at("retry-after")), 1);
  EXPECT_EQ(Json::parse(refused.body)["error"]["type"], "rate_limit_error");
  TestClient other(port_);
  ask(other, "second", R"({"prompt":"a"})");
  EXPECT_EQ(other.read_response().status, 200);
  clients.clear();
  EXPECT_TRUE(backend_idle());
  TestClient again(port_);
  ask(again, "first", R"({"prompt":"a"})");
  EXPECT_EQ(again.read_response().status, 200);
  TestClient many(port_);
  ask(many, "first", R"({"prompt":"a","n":3})");
  const TestResponse too_many = many.read_response();
  EXPECT_EQ(too_many.status, 400);
  EXPECT_NE(too_many.body.find("--max-per-key"), std::string::npos);
}

// Each call takes 0.75 s by the fake engine's word, one at a time.
TEST_F(HttpServerTest, WhoWouldWaitTooLongIsToldSo) {
  backend_.mutable_metrics().backlog = {.n_sequences = 4, .seconds = 3};
  ServerOptions options;
  options.calls = {.max_seqs = 1, .max_queue = 100, .max_wait = 1};
  start(options);
  EXPECT_EQ(complete(R"({"prompt":"a"})").status, 200);
  std::vector<std::unique_ptr<TestClient>> clients;
  for (uint32_t i = 0; i < 2; ++i) {
    clients.push_back(std::make_unique<TestClient>(port_));
    clients.back()->post("/v1/completions", R"({"prompt":"hold"})");
    ASSERT_TRUE(backend_has(i + 2));
  }
  const TestResponse r = complete(R"({"prompt":"a"})");
  EXPECT_EQ(r.status, 503);
  EXPECT_EQ(r.headers.at("retry-after"), "2");
  EXPECT_NE(r.body.find("--max-wait"), std::string::npos);
  clients.clear();
  EXPECT_TRUE(backend_idle());
}

TEST_F(HttpServerTest, AnEndedCallCanBeExplained) {
  start();
  for (const char* body : {R"({"prompt":"a"})", R"({"prompt":"a","stream":true})"}) {
    TestClient client(port_);
    client.send(
        fmt::format("POST /v1/completions HTTP/1.1\r\nHost: h\r\nX-Request-Id: mine\r\n"
                    "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
                    std::string_view(body).size(),
                    body));
    ASSERT_EQ(client.read_response().status, 200);
    ASSERT_TRUE(client.get("/v1/requests/mine/explain"));
    const TestResponse r = client.read_response();
    ASSERT_EQ(r.status, 200) << r.body;
    EXPECT_EQ(Json::parse(r.body)["finish_reason"], "length");
    EXPECT_EQ(Json::parse(r.body)["prefill"]["ms"], 500.0);
  }
  TestClient client(port_);
  ASSERT_TRUE(client.get("/metrics"));
  const TestResponse metrics = client.read_response();
  EXPECT_NE(metrics.body.find("farthing_http_responses_total{status=\"200\"} 4\n"),
            std::string::npos);
}

TEST_F(HttpServerTest, ASlowReaderIsDropped) {
  ServerOptions options;
  options.stall_timeout = 300ms;
  options.calls.max_pending_bytes = 1 << 20;
  start(options);
  TestClient client(port_);
  client.post("/v1/completions", R"({"prompt":"flood","stream":true,"max_tokens":4000})");
  EXPECT_TRUE(client.read_until("data: "));
  EXPECT_TRUE(backend_idle());  // although the client never leaves
  expect_well();
}

TEST_F(HttpServerTest, AReaderThatNeverStallsButIsTooSlowIsDropped) {
  ServerOptions options;
  options.stall_timeout = 1s;
  options.least_read_rate = 100 << 20;
  start(options);
  TestClient client(port_);
  client.post("/v1/completions", R"({"prompt":"flood","max_tokens":500})");  // 32 MB
  while (client.read_more()) std::this_thread::sleep_for(20ms);
  EXPECT_FALSE(client.read_response().complete);
  EXPECT_TRUE(backend_idle());
  expect_well();
}

TEST_F(HttpServerTest, AnAnswerThatIsTooLargeIsRefused) {
  ServerOptions options;
  options.answer_limit = 1 << 20;
  start(options);
  const TestResponse r = complete(R"({"prompt":"flood","max_tokens":4000})");
  EXPECT_EQ(r.status, 400);
  EXPECT_EQ(Json::parse(r.body)["error"]["code"], "answer_too_large");
  EXPECT_TRUE(backend_idle());
  expect_well();
}

TEST_F(HttpServerTest, SlowClientsGetA408) {
  ServerOptions options;
  options.header_timeout = 100ms;
  options.body_timeout = 100ms;
  options.idle_timeout = 100ms;
  start(options);
  EXPECT_EQ(exchange("GET /health HTT").status, 408);
  EXPECT_EQ(
      exchange("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{").status,
      408);
  TestClient silent(port_);
  EXPECT_TRUE(silent.at_end());
  TestClient drip(port_);
  for (const char c : std::string("GET /health HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaa")) {
    if (!drip.send(std::string(1, c))) break;
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_EQ(drip.read_response().status, 408);
  TestClient kept(port_);
  kept.get("/health");
  EXPECT_EQ(kept.read_response().status, 200);
  EXPECT_TRUE(kept.at_end());
  expect_well();
}

TEST_F(HttpServerTest, BodiesTogetherAreBounded) {
  ServerOptions options;
  options.bodies_limit = 100000;
  start(options);
  TestClient first(port_);
  first.send("POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n" +
             std::string(80000, ' '));
  std::this_thread::sleep_for(50ms);
  TestClient second(port_);
  second.send("POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n" +
              std::string(80000, ' '));
  EXPECT_EQ(second.read_response().status, 503);
  first.close();
  expect_well();
}

// What the sockets' buffers don't take of an answer stays here until it is read: of all of them no
// more than the limit.
TEST_F(HttpServerTest, UnreadAnswersTogetherAreBounded) {
  ServerOptions options;
  options.answers_limit = 32 << 20;
  start(options);
  const std::string_view large = R"({"prompt":"flood","max_tokens":200})";  // 13 MB
  TestClient first(port_), second(port_);
  for (TestClient* client : {&first, &second}) {
    client->post("/v1/completions", large);
    ASSERT_TRUE(client->read_until("HTTP/1.1 200"));
  }
  const TestResponse refused = complete(large);
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(Json::parse(refused.body)["error"]["code"], "overloaded");
  EXPECT_GE(std::stoi(refused.headers.at("retry-after")), 1);
  expect_well();  // short answers still get out
  EXPECT_TRUE(second.read_response().complete);
  EXPECT_EQ(complete(large).status, 200);
  EXPECT_TRUE(backend_idle());
}

TEST_F(HttpServerTest, UnreadStreamsTogetherAreBounded) {
  ServerOptions options;
  options.calls.max_pending_bytes = 1u << 30;
  options.calls.max_pending_of_all = 4 << 20;
  start(options);
  TestClient client(port_);
  client.post("/v1/completions", R"({"prompt":"flood","stream":true,"max_tokens":4000})");
  EXPECT_TRUE(client.read_until("data: "));
  EXPECT_TRUE(backend_idle());  // although the client never leaves
  expect_well();
}

// The end of the stream stands behind more than is kept for later.
TEST_F(HttpServerTest, WhoSentMuchMoreIsSeenToLeaveAllTheSame) {
  start();
  TestClient client(port_);
  client.post("/v1/completions", R"({"prompt":"hold"})");
  ASSERT_TRUE(backend_has(1));
  client.send("POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 45000\r\n\r\n" +
              std::string(45000, ' '));
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(backend_.n_running(), 1u);
  client.close();
  EXPECT_TRUE(backend_idle());
  expect_well();
}

TEST_F(HttpServerTest, ConnectionsAreBounded) {
  ServerOptions options;
  options.max_connections = 3;
  start(options);
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<TestClient>(port_));
    clients.back()->get("/health");
    EXPECT_EQ(clients.back()->read_response().status, 200);
  }
  TestClient one_more(port_);
  EXPECT_EQ(one_more.read_response().status, 503);
  clients.pop_back();
  std::this_thread::sleep_for(50ms);
  expect_well();
}

TEST_F(HttpServerTest, DrainFinishesWhatRunsAndRefusesTheRest) {
  start();
  TestClient idle(port_);
  idle.get("/readyz");
  EXPECT_EQ(idle.read_response().status, 200);
  TestClient client(port_);
  client.post("/v1/completions", R"({"prompt":"slow","stream":true,"max_tokens":60})");
  EXPECT_TRUE(client.read_until("data: "));
  server_->drain();
  EXPECT_TRUE(idle.at_end());
  TestClient ready(port_);
  ready.get("/readyz");
  EXPECT_EQ(ready.read_response().status, 503);
  const TestResponse refused = complete(R"({"prompt":"a"})");
  EXPECT_EQ(refused.status, 503);
  EXPECT_TRUE(refused.headers.contains("retry-after"));
  const TestResponse r = client.read_response();
  EXPECT_TRUE(r.complete);
  EXPECT_TRUE(r.body.ends_with("data: [DONE]\n\n"));
  thread_.join();
}

TEST_F(HttpServerTest, DrainTimeoutCutsOffWithAnError) {
  ServerOptions options;
  options.drain_timeout = 50ms;
  start(options);
  TestClient stream(port_);
  stream.post("/v1/completions", R"({"prompt":"slow","stream":true,"max_tokens":4000})");
  EXPECT_TRUE(stream.read_until("data: "));
  TestClient plain(port_);
  plain.post("/v1/completions", R"({"prompt":"hold"})");
  ASSERT_TRUE(backend_has(2));
  server_->drain();
  const TestResponse cut = stream.read_response();
  EXPECT_TRUE(cut.complete);
  EXPECT_NE(cut.body.find("data: {\"error\":{"), std::string::npos);
  EXPECT_EQ(cut.body.find("[DONE]"), std::string::npos);
  EXPECT_EQ(plain.read_response().status, 503);
  thread_.join();
}

TEST_F(HttpServerTest, ABackendThatNeverEndsIsLeftBehind) {
  backend_.ignore_cancels();
  ServerOptions options;
  options.drain_timeout = 10ms;
  options.cut_off_timeout = 50ms;
  start(options);
  TestClient client(port_);
  client.post("/v1/completions", R"({"prompt":"hold"})");
  ASSERT_TRUE(backend_has(1));
  server_->drain();
  thread_.join();
  EXPECT_FALSE(drained_);
}

TEST_F(HttpServerTest, Addresses) {
  start();
  const auto refused = [&](std::string host, uint16_t port) {
    ServerOptions options;
    options.host = std::move(host);
    options.port = port;
    const auto server = HttpServer::start(backend_, {}, options);
    EXPECT_FALSE(server);
    return server ? ErrorKind::kInterrupted : server.error().kind;
  };
  EXPECT_EQ(refused("127.0.0.1", port_), ErrorKind::kNoResource);
  EXPECT_EQ(refused("0.0.0.0", 0), ErrorKind::kUsage);
  EXPECT_EQ(refused("::", 0), ErrorKind::kUsage);
  EXPECT_EQ(refused("999.1.1.1.invalid", 0), ErrorKind::kUsage);
  ServerOptions open;
  open.host = "0.0.0.0";
  open.port = 0;
  open.allow_public = true;
  EXPECT_TRUE(HttpServer::start(backend_, {}, open));
}

TEST_F(HttpServerTest, ManyAtOnce) {
  start();
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        TestClient client(port_);
        client.post("/v1/completions",
                    fmt::format(R"({{"prompt":"{}","max_tokens":20,"stream":{}}})",
                                (t + i) % 3 == 0 ? "slow" : "fast",
                                i % 2 == 0 ? "true" : "false"));
        if (i % 5 == 4) {
          client.close();
        } else if (client.read_response().complete) {
          ++good;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 64);
  EXPECT_TRUE(backend_idle());
  expect_well();
}

}  // namespace
}  // namespace farthing
