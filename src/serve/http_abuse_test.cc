// What a hostile or broken client may send, one row each. After every row the server is well,
// answers the same, and holds no more file descriptors and threads than before.
#include <string>
#include <vector>

#include "serve/server_fixture_for_tests.h"

namespace farthing {
namespace {

struct Abuse {
  const char* name;
  std::string bytes;
  int status;   // 0: closed without an answer
  bool closed;  // the connection is closed afterwards
};

std::string post(std::string_view path, std::string_view headers, std::string_view body) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: x\r\n{}\r\n{}", path, headers, body);
}
std::string json(std::string_view body, std::string_view path = "/v1/completions") {
  return post(path,
              fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", body.size()),
              body);
}
std::string get(std::string_view headers) {
  return fmt::format("GET /health HTTP/1.1\r\nHost: x\r\n{}\r\n", headers);
}
std::string repeat(std::string_view text, size_t n) {
  std::string out;
  for (size_t i = 0; i < n; ++i) out += text;
  return out;
}

std::string with_nul(std::string_view before, std::string_view after) {
  return std::string(before) + '\0' + std::string(after);
}

std::vector<Abuse> request_lines() {
  return {
      {"garbage", "\x16\x03\x01\x02\x01\xfc\x03\x03 hello\r\n\r\n", 400, true},
      {"empty method", " /health HTTP/1.1\r\nHost: x\r\n\r\n", 400, true},
      {"no target", "GET HTTP/1.1\r\nHost: x\r\n\r\n", 400, true},
      {"no version", "GET /health\r\n\r\n", 400, true},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, true},
      {"HTTP/0.9", "GET /health HTTP/0.9\r\n\r\n", 400, true},
      {"HTTP/1.2", "GET /health HTTP/1.2\r\nHost: x\r\n\r\n", 400, true},
      {"version in lower case", "GET /health http/1.1\r\nHost: x\r\n\r\n", 400, true},
      {"two spaces", "GET  /health HTTP/1.1\r\nHost: x\r\n\r\n", 400, true},
      {"space in target", "GET /hea lth HTTP/1.1\r\nHost: x\r\n\r\n", 400, true},
      {"control character in target", "GET /health\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400, true},
      {"NUL in target", with_nul("GET /hea", "lth HTTP/1.1\r\nHost: x\r\n\r\n"), 400, true},
      {"bare line feeds", "GET /health HTTP/1.1\nHost: x\n\n", 400, true},
      {"bare carriage return", "GET /health HTTP/1.1\rHost: x\r\r", 400, true},
      {"long target",
       "GET /" + std::string(40000, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n",
       431,
       true},
      {"endless target", "GET /" + std::string(200000, 'a'), 431, true},
      {"unknown method", "BREW /health HTTP/1.1\r\nHost: x\r\n\r\n", 405, false},
      {"long method", std::string(1000, 'G') + " /health HTTP/1.1\r\nHost: x\r\n\r\n", 405, false},
      {"method with separator", "GE(T /health HTTP/1.1\r\nHost: x\r\n\r\n", 400, true},
      {"connect", "CONNECT example:443 HTTP/1.1\r\nHost: x\r\n\r\n", 404, false},
      {"path traversal", "GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404, false},
      {"encoded traversal", "GET /v1/models/..%2f..%2fetc HTTP/1.1\r\nHost: x\r\n\r\n", 404, false},
      {"encoded NUL and line end",
       "GET /v1/models/%00%0d%0aX: HTTP/1.1\r\nHost: x\r\n\r\n",
       404,
       false},
  };
}

std::vector<Abuse> headers() {
  return {
      {"no host", "GET /health HTTP/1.1\r\n\r\n", 400, true},
      {"two hosts", get("Host: y\r\n"), 400, true},
      {"space before colon", get("Content-Length : 0\r\n"), 400, true},
      {"header without colon", get("nonsense\r\n"), 400, true},
      {"header without name", get(": x\r\n"), 400, true},
      {"control character in name", get("a\x01: x\r\n"), 400, true},
      {"NUL in value", get(with_nul("a: x", "y\r\n")), 400, true},
      {"many headers", get(repeat("a: b\r\n", 10000)), 431, true},
      {"one long header", get("a: " + std::string(40000, 'b') + "\r\n"), 431, true},
      {"endless header",
       "GET /health HTTP/1.1\r\nHost: x\r\na: " + std::string(100000, 'b'),
       431,
       true},
      {"odd expectation", get("Expect: miracles\r\n"), 417, true},
      {"bad request id is replaced", get("X-Request-Id: a b\r\n"), 200, false},
      {"upgrade is not taken", get("Upgrade: websocket\r\nConnection: Upgrade\r\n"), 200, false},
      {"close is honoured", get("Connection: close\r\n"), 200, true},
  };
}

std::vector<Abuse> framing() {
  const std::string type = "Content-Type: application/json\r\n";
  const std::string body = R"({"prompt":"a"})";  // 14 bytes
  const std::string smuggled = "GET /admin HTTP/1.1\r\nHost: x\r\n\r\n";
  const char* path = "/v1/completions";
  return {
      {"length and chunked",
       post(path,
            type + "Content-Length: 14\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n" + smuggled),
       400,
       true},
      {"chunked and length",
       post(path,
            type + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            "0\r\n\r\n" + smuggled),
       400,
       true},
      {"two lengths",
       post(path, type + "Content-Length: 14\r\nContent-Length: 0\r\n", body),
       400,
       true},
      {"two equal lengths",
       post(path, type + "Content-Length: 14\r\nContent-Length: 14\r\n", body),
       400,
       true},
      {"list of lengths", post(path, type + "Content-Length: 14, 14\r\n", body), 400, true},
      {"negative length", post(path, type + "Content-Length: -1\r\n", body), 400, true},
      {"signed length", post(path, type + "Content-Length: +14\r\n", body), 400, true},
      {"hexadecimal length", post(path, type + "Content-Length: 0xe\r\n", body), 400, true},
      {"empty length", post(path, type + "Content-Length:\r\n", body), 400, true},
      {"length of 2^64",
       post(path, type + "Content-Length: 18446744073709551616\r\n", body),
       400,
       true},
      {"length of 2^64 - 1",
       post(path, type + "Content-Length: 18446744073709551615\r\n", body),
       413,
       true},
      {"length over the limit", post(path, type + "Content-Length: 8388609\r\n", ""), 413, true},
      {"body over the limit",
       post(path, type + "Content-Length: 9000000\r\n", std::string(9000000, ' ')),
       413,
       true},
      {"gzip, chunked",
       post(path, type + "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
       400,
       true},
      {"chunked twice",
       post(path, type + "Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
       400,
       true},
      {"two codings",
       post(path,
            type + "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n"),
       400,
       true},
      {"identity coding", post(path, type + "Transfer-Encoding: identity\r\n", body), 400, true},
      {"vertical tab before chunked",
       post(path,
            type + "Transfer-Encoding: \x0b"
                   "chunked\r\n",
            "0\r\n\r\n"),
       400,
       true},
      {"chunked in HTTP/1.0",
       "POST /v1/completions HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       400,
       true},
      {"chunk size that is none",
       post(path, type + "Transfer-Encoding: chunked\r\n", "xyz\r\n"),
       400,
       true},
      {"negative chunk size",
       post(path, type + "Transfer-Encoding: chunked\r\n", "-5\r\nabcde\r\n"),
       400,
       true},
      {"chunk size of 2^64",
       post(path, type + "Transfer-Encoding: chunked\r\n", "10000000000000000\r\na"),
       400,
       true},
      {"chunk size over the limit",
       post(path, type + "Transfer-Encoding: chunked\r\n", "800001\r\n"),
       413,
       true},
      {"chunk longer than its size",
       post(path, type + "Transfer-Encoding: chunked\r\n", "1\r\nabc\r\n0\r\n\r\n"),
       400,
       true},
      {"endless chunk extension",
       post(path, type + "Transfer-Encoding: chunked\r\n", "1;a=" + std::string(200000, 'b')),
       400,
       true},
      {"endless trailer",
       post(path, type + "Transfer-Encoding: chunked\r\n", "0\r\na: " + std::string(200000, 'b')),
       400,
       true},
      {"neither length nor body", post(path, type, ""), 400, false},
      {"body on a GET", get("Content-Length: 3\r\n") + "abc", 200, false},
  };
}

std::vector<Abuse> bodies() {
  const std::string chat = "/v1/chat/completions";
  return {
      {"no body", json(""), 400, false},
      {"half a body of JSON", json("{\"prompt\":"), 400, false},
      {"deep arrays", json(R"({"prompt":)" + std::string(100000, '[')), 400, false},
      {"deep objects", json(repeat("{\"a\":", 100000)), 400, false},
      {"many keys", json("{" + repeat("\"a\":1,", 100000) + "\"b\":1}"), 400, false},
      {"many values", json(R"({"prompt":[)" + repeat("0,", 1100000) + "0]}"), 400, false},
      {"invalid UTF-8", json("{\"prompt\":\"\xff\xfe\"}"), 400, false},
      {"lone surrogate", json("{\"prompt\":\"\\udc00\"}"), 400, false},
      {"escaped NUL is text", json("{\"prompt\":\"\\u0000\"}"), 200, false},
      {"huge number", json(R"({"prompt":"a","temperature":1e400})"), 400, false},
      {"long number", json(R"({"prompt":"a","n":)" + std::string(100000, '9') + "}"), 400, false},
      {"huge logprobs", json(R"({"prompt":"a","logprobs":2147483647})"), 400, false},
      {"huge n", json(R"({"prompt":"a","n":1000000})"), 400, false},
      {"negative max_tokens",
       json(R"({"prompt":"a","max_tokens":-9223372036854775808})"),
       400,
       false},
      {"min_tokens beyond everything",
       json(R"({"prompt":"a","min_tokens":2147483647})"),
       400,
       false},
      {"many stops",
       json(R"({"prompt":"a","stop":[)" + repeat("\"x\",", 1000) + "\"y\"]}"),
       400,
       false},
      {"many biases",
       [] {
         std::string b = R"({"prompt":"a","logit_bias":{"0":1)";
         for (int i = 1; i < 1025; ++i) b += fmt::format(",\"{}\":1", i);
         return json(b + "}}");
       }(),
       400,
       false},
      {"prompt of 8 MB", json(R"({"prompt":")" + std::string(8000000, 'a') + "\"}"), 400, false},
      {"token ids outside", json(R"({"prompt":[2147483647]})"), 400, false},
      {"salt that is an object",
       json(R"({"prompt":"a","cache_salt":{"__proto__":1}})"),
       400,
       false},
      {"unknown field with line ends",
       json(R"({"prompt":"a","x\r\nSet-Cookie: y":1})"),
       200,
       false},
      {"role with line ends",
       json(R"({"messages":[{"role":"a\r\nb","content":"c"}]})", chat),
       400,
       false},
      {"messages of the wrong kind", json(R"({"messages":{"role":"user"}})", chat), 400, false},
      {"regular expression bomb", json(R"({"prompt":"a","guided_regex":"(a*)*b"})"), 400, false},
      {"form",
       post(
           chat, "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n", "a=b"),
       415,
       false},
      {"compressed",
       post(chat,
            "Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n",
            "abc"),
       415,
       false},
  };
}

// Bodies that no route takes, for every route that has one.
std::vector<Abuse> bodies_everywhere() {
  const std::vector<std::pair<const char*, std::string>> hostile = {
      {"no body", ""},
      {"blanks", std::string(1000, ' ')},
      {"half a body", R"({"prompt":"a","tokens":[1)"},
      {"two bodies", R"({"prompt":"a"}{"prompt":"b"})"},
      {"an array", R"([{"prompt":"a"}])"},
      {"a string", R"("prompt")"},
      {"null", "null"},
      {"a number", "1e999"},
      {"an empty object", "{}"},
      {"an object in place of text", R"({"prompt":{},"tokens":{},"messages":{}})"},
      {"numbers in place of text", R"({"prompt":-1,"tokens":-1,"messages":-1})"},
      {"ids outside", R"({"prompt":[-1],"tokens":[99999999],"messages":[-1]})"},
      {"fractions", R"({"prompt":[0.5],"tokens":[0.5],"messages":[0.5]})"},
      {"a model that is none", R"({"model":{},"prompt":"a","tokens":[1],"messages":[]})"},
      {"deep arrays", R"({"messages":)" + std::string(100000, '[')},
      {"deep objects", repeat("{\"messages\":", 100000)},
      {"many keys", "{" + repeat("\"a\":1,", 100000) + "\"b\":1}"},
      {"many values", R"({"tokens":[)" + repeat("0,", 1100000) + "0]}"},
      {"invalid UTF-8", "{\"prompt\":\"\xff\",\"model\":\"\xc0\x80\"}"},
      {"a lone surrogate", "{\"prompt\":\"\\ud800\",\"model\":\"\\udc00\"}"},
  };
  std::vector<Abuse> rows;
  for (const char* path :
       {"/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize", "/apply-template"}) {
    for (const auto& [name, body] : hostile) rows.push_back({name, json(body, path), 400, false});
  }
  return rows;
}

class HttpAbuseTest : public ServerFixture {
 protected:
  void run(const std::vector<Abuse>& rows) {
    ServerOptions options;
    options.header_timeout = std::chrono::milliseconds(300);
    options.body_timeout = std::chrono::milliseconds(2000);
    start(options);
    const Footprint baseline = settled();
    for (const Abuse& row : rows) {
      SCOPED_TRACE(row.name);
      send(row);
      expect_well();
      expect_back_at(baseline);
    }
    EXPECT_EQ(backend_.n_running(), 0u);
  }

  // What the server takes once it has answered something and the client has left.
  Footprint settled() {
    const Footprint without_client =
        Footprint::now();  // starting may have a file open for a moment
    expect_well();
    Footprint least = Footprint::now();
    for (int i = 0; i < 2000 && (i < 40 || least.files > without_client.files); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      if (const Footprint now = Footprint::now(); now.files < least.files) least = now;
    }
    EXPECT_LE(least.files, without_client.files);
    return least;
  }

  void send(const Abuse& row) {
    TestClient client(port_);
    ASSERT_TRUE(client.connected());
    client.send(row.bytes);
    const TestResponse r = client.read_response();
    EXPECT_EQ(r.status, row.status) << r.body;
    if (r.status >= 400) {
      const Json error = Json::parse(r.body, nullptr, false);
      ASSERT_TRUE(error.is_object()) << r.body;
      EXPECT_FALSE(error["error"]["message"].get<std::string>().empty());
    }
    EXPECT_FALSE(r.headers.contains("set-cookie"));
    if (row.closed) {
      EXPECT_TRUE(client.at_end()) << client.buffer();
    } else {
      client.get("/livez");
      EXPECT_EQ(client.read_response().status, 200);
    }
  }
};

TEST_F(HttpAbuseTest, RequestLines) {
  run(request_lines());
}
TEST_F(HttpAbuseTest, Headers) {
  run(headers());
}
TEST_F(HttpAbuseTest, Framing) {
  run(framing());
}
TEST_F(HttpAbuseTest, Bodies) {
  run(bodies());
}

TEST_F(HttpAbuseTest, BodiesForEveryRoute) {
  run(bodies_everywhere());
}

// A request cut off at every byte: the server just lets go.
TEST_F(HttpAbuseTest, CutOffAnywhere) {
  start();
  const Footprint baseline = settled();
  const std::string whole = json(R"({"prompt":"hold","stream":true})");
  for (size_t n = 0; n <= whole.size(); ++n) {
    TestClient client(port_);
    client.send(whole.substr(0, n));
    if (n % 2 == 0) client.shutdown_write();
  }
  expect_well();
  EXPECT_TRUE(backend_idle());
  expect_back_at(baseline);
}

// The end of the stream that comes while an answer is made is seen once only: the connection must
// not wait for it again (it did, until the idle timeout). Found by http_fuzz.
TEST_F(HttpAbuseTest, NothingMoreToComeClosesAtOnce) {
  start();
  const Footprint baseline = settled();
  const std::string two = post("/nothing", "Content-Length: 3\r\n", "abc") + get("");
  for (int i = 0; i < 50; ++i) {
    TestClient client(port_, 15000);
    client.send(two);
    client.shutdown_write();
    while (client.read_response().status != 0) {
    }
    ASSERT_TRUE(client.at_end()) << i;
  }
  expect_back_at(baseline);
}

}  // namespace
}  // namespace farthing
