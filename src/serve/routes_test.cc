#include "serve/routes.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "serve/fake_backend_for_tests.h"
#include "serve/http_format.h"
#include "serve/json_text.h"

namespace farthing {
namespace {

class RoutesTest : public ::testing::Test {
 protected:
  static HttpHead head(std::string method, std::string target) {
    return {.method = std::move(method),
            .target = std::move(target),
            .content_type = "application/json; charset=utf-8"};
  }
  int status(const HttpHead& h, bool draining = false) {
    const auto reply = routes_.precheck(h, {.draining = draining});
    return reply ? reply->status : 0;
  }
  Json post(std::string path, std::string body, int expected = 200) {
    const auto result = routes_.handle({head("POST", std::move(path)), std::move(body)}, {});
    const auto& reply = std::get<HttpReply>(result);
    EXPECT_EQ(reply.status, expected) << reply.body;
    return Json::parse(reply.body);
  }
  Json get(std::string path, int expected = 200, bool draining = false) {
    const auto result = routes_.handle({head("GET", std::move(path)), ""}, {.draining = draining});
    const auto& reply = std::get<HttpReply>(result);
    EXPECT_EQ(reply.status, expected) << reply.body;
    return Json::parse(reply.body);
  }

  FakeBackend backend_;
  Routes routes_{backend_, {.start_time = 7, .version = "1.2.3"}};
};

TEST_F(RoutesTest, PathsAndMethods) {
  EXPECT_EQ(status(head("GET", "/v1/models")), 0);
  EXPECT_EQ(status(head("HEAD", "/health")), 0);
  EXPECT_EQ(status(head("GET", "/health?x=1#y")), 0);
  EXPECT_EQ(status(head("GET", "http://host:80/health")), 0);
  EXPECT_EQ(status(head("POST", "/v1/chat/completions")), 0);
  EXPECT_EQ(status(head("GET", "/v1/chat/completions")), 405);
  EXPECT_EQ(status(head("POST", "/health")), 405);
  EXPECT_EQ(status(head("OPTIONS", "/v1/models")), 405);
  EXPECT_EQ(status(head("GET", "/")), 404);
  EXPECT_EQ(status(head("GET", "/v1/models/")), 404);
  EXPECT_EQ(status(head("GET", "/v1/chat/completions/")), 404);
  EXPECT_EQ(status(head("GET", "*")), 404);
  const auto reply = routes_.precheck(head("DELETE", "/v1/models"), {});
  EXPECT_EQ(reply->headers.at(0), (std::pair<std::string, std::string>{"Allow", "GET, HEAD"}));
}

TEST_F(RoutesTest, Bodies) {
  HttpHead h = head("POST", "/v1/completions");
  const std::pair<const char*, int> types[] = {{"application/json", 0},
                                               {"Application/JSON ; charset=utf-8", 0},
                                               {"", 0},
                                               {"text/plain", 415},
                                               {"application/x-www-form-urlencoded", 415},
                                               {"application/jsonx", 415}};
  for (const auto& [type, expected] : types) {
    h.content_type = type;
    EXPECT_EQ(status(h), expected) << type;
  }
  h.content_type = "";
  h.origin = "http://evil.example";  // a page may send an untyped body to anybody
  EXPECT_EQ(status(h), 415);
  h = head("POST", "/v1/completions");
  h.content_encoding = "gzip";
  EXPECT_EQ(status(h), 415);
}

TEST_F(RoutesTest, Keys) {
  const Routes keyed(backend_, {.api_keys = {"first", "second"}});
  const auto code = [&](std::string authorization, std::string key, const char* path) {
    HttpHead h = head("GET", path);
    h.authorization = std::move(authorization);
    h.api_key = std::move(key);
    const auto reply = keyed.precheck(h, {});
    return reply ? reply->status : 0;
  };
  EXPECT_EQ(code("Bearer first", "", "/v1/models"), 0);
  EXPECT_EQ(code("bearer second", "", "/v1/models"), 0);
  EXPECT_EQ(code("", "second", "/v1/models"), 0);
  EXPECT_EQ(code("", "", "/v1/models"), 401);
  EXPECT_EQ(code("Bearer ", "", "/v1/models"), 401);
  EXPECT_EQ(code("Bearer firs", "", "/v1/models"), 401);
  EXPECT_EQ(code("Bearer firstfirst", "", "/v1/models"), 401);
  EXPECT_EQ(code("Basic first", "", "/v1/models"), 401);
  EXPECT_EQ(code("", "", "/nothing"), 401);  // what exists is nobody's business
  for (const char* open : {"/health", "/livez", "/readyz"}) EXPECT_EQ(code("", "", open), 0);
}

TEST_F(RoutesTest, NamesThatOthersCanMakeMeanThisMachine) {
  const Routes keyless(backend_, {.own_names_only = true});
  const auto code = [&](const Routes& routes, std::string host, const char* path) {
    HttpHead h = head("GET", path);
    h.host = std::move(host);
    const auto reply = routes.precheck(h, {});
    return reply ? reply->status : 0;
  };
  for (const char* own : {"",
                          "localhost",
                          "LocalHost:8080",
                          "localhost.",
                          "127.0.0.1:8080",
                          "[::1]:80",
                          "10.0.0.7",
                          "box",
                          "app.localhost",
                          "nas.local:1",
                          "host.docker.internal"}) {
    EXPECT_EQ(code(keyless, own, "/v1/models"), 0) << own;
  }
  for (const char* other : {"evil.example",
                            "evil.example:8080",
                            "localhost.evil.example",
                            "127.0.0.1.evil.example",
                            "a.xlocal"}) {
    const int expected = 403;
    EXPECT_EQ(code(keyless, other, "/v1/models"), expected) << other;
    EXPECT_EQ(code(keyless, other, "/health"), expected) << other;
    EXPECT_EQ(code(Routes(backend_, {}), other, "/v1/models"), 0) << other;
  }
}

TEST_F(RoutesTest, Cors) {
  const Routes some(backend_, {.cors_origins = {"http://a.example"}});
  HttpHead h = head("OPTIONS", "/v1/chat/completions");
  h.origin = "http://a.example";
  EXPECT_EQ(some.precheck(h, {})->status, 204);
  EXPECT_EQ(some.cors_headers("http://a.example").at(0).second, "http://a.example");
  EXPECT_TRUE(some.cors_headers("http://b.example").empty());
  EXPECT_TRUE(some.cors_headers("").empty());
  h.origin = "http://b.example";
  EXPECT_EQ(some.precheck(h, {})->status, 405);
  const Routes any(backend_, {.cors_origins = {"*"}});
  EXPECT_EQ(any.cors_headers("http://b.example").at(0).second, "*");
}

TEST_F(RoutesTest, Models) {
  const Json model = get("/v1/models/fake-model");
  EXPECT_EQ(model["id"], "fake-model");
  EXPECT_EQ(model["root"], "fake-model");
  EXPECT_EQ(model["object"], "model");
  EXPECT_EQ(model["created"], 7);
  EXPECT_EQ(model["max_model_len"], 4096);
  EXPECT_EQ(get("/v1/models")["data"], Json::array({model}));
  EXPECT_EQ(get("/v1/models/fake%2dmodel")["id"], "fake-model");
  EXPECT_EQ(get("/v1/models/other", 404)["error"]["code"], "model_not_found");
  EXPECT_EQ(get("/v1/models/%zz%2", 404)["error"]["code"], "model_not_found");
}

TEST_F(RoutesTest, Health) {
  EXPECT_EQ(get("/health")["status"], "ok");
  EXPECT_EQ(get("/readyz")["status"], "ok");
  EXPECT_EQ(get("/readyz", 503, true)["status"], "draining");
  EXPECT_EQ(get("/livez", 200, true)["status"], "draining");
  EXPECT_EQ(get("/version")["version"], "1.2.3");
  EXPECT_EQ(status(head("POST", "/v1/completions"), true), 503);
  EXPECT_EQ(status(head("POST", "/tokenize"), true), 0);
}

TEST_F(RoutesTest, HealthIsTheAgeOfTheLastStep) {
  const TimePoint start = TimePoint(std::chrono::hours(5));
  const auto ask = [&](const char* path, double seconds, int expected) {
    const auto later =
        std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    const auto result = routes_.handle({head("GET", path), ""}, {.now = start + later});
    const auto& reply = std::get<HttpReply>(result);
    EXPECT_EQ(reply.status, expected) << path << " after " << seconds << " s: " << reply.body;
    return Json::parse(reply.body);
  };
  Progress& progress = backend_.mutable_progress();
  EXPECT_EQ(ask("/health", 1000, 200)["last_step_age_seconds"], nullptr);
  // Idle since a step long ago: nothing is wrong.
  progress.last_step = start;
  EXPECT_EQ(ask("/health", 1000, 200)["last_step_age_seconds"], 1000);
  // Work came to the idle engine: its time counts from there, not from the old step.
  progress.working = true;
  progress.work_came = start + std::chrono::seconds(100);
  EXPECT_EQ(ask("/health", 129, 200)["status"], "ok");
  const Json stalled = ask("/health", 130, 503);
  EXPECT_EQ(stalled["status"], "stalled");
  EXPECT_EQ(stalled["working"], true);
  EXPECT_EQ(stalled["message"],
            "work is waiting, and no step has ended for 30.0 s (the limit is 30 s)");
  EXPECT_EQ(ask("/readyz", 130, 503)["status"], "stalled");
  EXPECT_EQ(ask("/livez", 130, 200)["status"], "ok");
  // A step ends, and it is well again.
  progress.last_step = start + std::chrono::seconds(131);
  EXPECT_EQ(ask("/health", 160, 200)["last_step_age_seconds"], 29);
  EXPECT_EQ(ask("/health", 161, 503)["status"], "stalled");
}

TEST_F(RoutesTest, Metrics) {
  backend_.mutable_metrics().requests_received = 5;
  const auto result = routes_.handle({head("GET", "/metrics"), ""}, {});
  const auto& reply = std::get<HttpReply>(result);
  EXPECT_TRUE(reply.content_type.starts_with("text/plain; version=0.0.4"));
  EXPECT_NE(reply.body.find("farthing_requests_received_total 5\n"), std::string::npos);
  EXPECT_EQ(reply.body.find("vllm:"), std::string::npos);
  EXPECT_EQ(status(head("POST", "/metrics")), 405);
  const Routes keyed(backend_, {.api_keys = {"first"}});
  EXPECT_EQ(keyed.precheck(head("GET", "/metrics"), {})->status, 401);
}

TEST_F(RoutesTest, ExplainAnswersOnlyTheKeyThatAsked) {
  const Routes keyed(backend_, {.api_keys = {"first", "second"}});
  ServerLog log;
  log.add({.caller = 2, .id = "chatcmpl-1", .request_id = "mine/1", .explanation = "{}"});
  const auto ask = [&](std::string key, std::string path) {
    HttpHead h = head("GET", std::move(path));
    h.api_key = std::move(key);
    EXPECT_FALSE(keyed.precheck(h, {.log = &log}));
    return std::get<HttpReply>(keyed.handle({h, ""}, {.log = &log})).status;
  };
  EXPECT_EQ(ask("second", "/v1/requests/chatcmpl-1/explain"), 200);
  EXPECT_EQ(ask("second", "/v1/requests/mine%2F1/explain"), 200);
  EXPECT_EQ(ask("first", "/v1/requests/chatcmpl-1/explain"), 404);
  EXPECT_EQ(ask("second", "/v1/requests/chatcmpl-2/explain"), 404);
  EXPECT_EQ(status(head("GET", "/v1/requests//explain")), 404);
  EXPECT_EQ(status(head("GET", "/v1/requests/explain")), 404);
  EXPECT_EQ(status(head("GET", "/v1/requests/a")), 404);
}

TEST_F(RoutesTest, TokenizeAndBack) {
  EXPECT_EQ(post("/tokenize", R"({"prompt":"Hi"})")["tokens"], Json::parse("[256,72,105]"));
  EXPECT_EQ(post("/tokenize", R"({"text":"Hi","model":"m"})")["count"], 3);
  EXPECT_EQ(post("/tokenize", R"({"content":"Hi"})")["tokens"], Json::parse("[72,105]"));
  EXPECT_EQ(post("/tokenize", R"({"content":"Hi","add_special":true})")["count"], 3);
  EXPECT_EQ(post("/tokenize", R"({"prompt":"Hi","add_special_tokens":false})")["count"], 2);
  EXPECT_EQ(post("/tokenize", R"({"content":"</s>"})")["count"], 4);
  EXPECT_EQ(post("/tokenize", R"({"content":"</s>","parse_special":true})")["count"], 1);
  EXPECT_EQ(post("/tokenize", R"({})", 400)["error"]["param"], "prompt");
  EXPECT_EQ(post("/tokenize", R"({"prompt":"a","content":"b"})", 400)["error"]["code"],
            "invalid_value");
  EXPECT_EQ(post("/tokenize", R"({"prompt":5})", 400)["error"]["param"], "prompt");
  EXPECT_EQ(post("/detokenize", R"({"tokens":[72,105]})"),
            Json::parse(R"({"prompt":"Hi","content":"Hi","text":"Hi"})"));
  EXPECT_EQ(post("/detokenize", R"({"tokens":[195]})")["content"], "�");
  EXPECT_EQ(post("/detokenize", R"({"tokens":[]})")["content"], "");
  const std::string long_text(1u << 20, 'a');  // a token a byte
  EXPECT_EQ(post("/tokenize", R"({"prompt":")" + long_text + R"("})", 400)["error"]["code"],
            "answer_too_large");
  std::string many_ids = "256";  // whose text is <s>
  for (int i = 0; i < 400'000; ++i) many_ids += ",256";
  EXPECT_EQ(post("/detokenize", R"({"tokens":[)" + many_ids + "]}", 400)["error"]["code"],
            "answer_too_large");
  EXPECT_EQ(post("/apply-template",
                 R"({"messages":[{"role":"user","content":")" + long_text + R"("}]})",
                 400)["error"]["code"],
            "answer_too_large");
  EXPECT_EQ(post("/detokenize", R"({"tokens":[999]})", 400)["error"]["param"], "tokens");
  EXPECT_EQ(post("/detokenize", R"({"tokens":"a"})", 400)["error"]["param"], "tokens");
  EXPECT_EQ(post("/detokenize", R"({})", 400)["error"]["param"], "tokens");
  EXPECT_EQ(post("/apply-template", R"({"messages":[{"role":"user","content":"a"}]})")["prompt"],
            "user:a\nassistant:");
  EXPECT_EQ(post("/apply-template", R"({"messages":[]})", 400)["error"]["param"], "messages");
}

TEST_F(RoutesTest, FieldsThatNobodyKnowsAreNamed) {
  for (const auto& [path, body] :
       {std::pair{"/tokenize", R"({"prompt":"a","sparkle":1})"},
        std::pair{"/detokenize", R"({"tokens":[72],"sparkle":1})"},
        std::pair{"/apply-template",
                  R"({"messages":[{"role":"user","content":"a"}],"sparkle":1})"}}) {
    const auto result = routes_.handle({head("POST", path), body}, {});
    const auto& headers = std::get<HttpReply>(result).headers;
    ASSERT_EQ(headers.size(), 1u) << path;
    EXPECT_EQ(headers[0].first, "X-Farthing-Warning");
    EXPECT_EQ(headers[0].second, "unknown field sparkle");
  }
}

TEST(JsonText, LimitsHold) {
  const auto refused = [](const std::string& text) {
    return std::holds_alternative<ApiError>(parse_json(text));
  };
  const auto nested = [](int depth) {
    return std::string(static_cast<size_t>(depth), '[') +
           std::string(static_cast<size_t>(depth), ']');
  };
  EXPECT_FALSE(refused(nested(64)));
  EXPECT_TRUE(refused(nested(65)));
  EXPECT_TRUE(refused(std::string(1 << 20, '[')));
  std::string keys = "{";
  for (int i = 0; i < 2048; ++i) keys += fmt::format("{}\"{}\":0", i == 0 ? "" : ",", i);
  EXPECT_FALSE(refused(keys + "}"));
  EXPECT_TRUE(refused(keys + ",\"x\":0}"));
  std::string many = "[0";
  for (int i = 0; i < 1 << 20; ++i) many += ",0";
  EXPECT_TRUE(refused(many + "]"));
  std::string objects = "[" + keys + "}";
  for (int i = 0; i < 32; ++i) objects += "," + keys + "}";
  EXPECT_TRUE(refused(objects + "]"));
}

TEST(JsonText, LongBadTokenGivesShortMessage) {
  const auto result = parse_json("{\"a\":\"" + std::string(1 << 20, 'x'));
  EXPECT_LT(std::get<ApiError>(result).message.size(), 400u);
}

TEST(HttpFormat, HeaderValues) {
  EXPECT_EQ(request_id_of("abc-1", "m"), "abc-1");
  EXPECT_EQ(request_id_of("", "m"), "m");
  EXPECT_EQ(request_id_of("a b", "m"), "m");
  EXPECT_EQ(request_id_of("a\r\nX: y", "m"), "m");
  EXPECT_EQ(request_id_of("\xc3\xbc", "m"), "m");
  EXPECT_EQ(request_id_of(std::string(128, 'x'), "m"), std::string(128, 'x'));
  EXPECT_EQ(request_id_of(std::string(129, 'x'), "m"), "m");
  EXPECT_EQ(unknown_fields_warning({"a", "b\r\nSet-Cookie: x"}),
            "unknown field a, b??Set-Cookie??x");
  EXPECT_LT(unknown_fields_warning(std::vector<std::string>(1000, std::string(1000, 'y'))).size(),
            700u);
  EXPECT_TRUE(equal_constant_time("abc", "abc"));
  EXPECT_FALSE(equal_constant_time("abc", "abd"));
  EXPECT_FALSE(equal_constant_time("abcabc", "abc"));
  EXPECT_FALSE(equal_constant_time("", "abc"));
  EXPECT_FALSE(equal_constant_time("abc", ""));
}

}  // namespace
}  // namespace farthing
