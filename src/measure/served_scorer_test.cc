#include "measure/served_scorer.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "base/json.h"
#include "engine/loaded_model.h"
#include "model/forward_for_tests.h"

namespace farthing {
namespace {

using testing::must;

const std::string kToy = FARTHING_SOURCE_DIR "/tests/golden/model/llama-gqa.gguf";

// Answers connections, one after the other, with these bodies, and remembers what it was asked.
class ScriptedServer {
 public:
  explicit ScriptedServer(std::vector<std::string> bodies) : bodies_(std::move(bodies)) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_, 4), 0);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~ScriptedServer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  std::string url() const { return fmt::format("http://127.0.0.1:{}", port_); }
  const std::vector<std::string>& asked() const { return asked_; }  // once it has answered

 private:
  void serve() {
    for (const std::string& body : bodies_) {
      const int connection = accept(listener_, nullptr, nullptr);
      if (connection < 0) return;
      std::string request;
      char bytes[4096];
      size_t whole = std::string::npos;
      while (request.size() < whole) {
        const ssize_t n = recv(connection, bytes, sizeof bytes, 0);
        if (n <= 0) break;
        request.append(bytes, static_cast<size_t>(n));
        const size_t head = request.find("\r\n\r\n");
        if (head == request.npos) continue;
        const size_t length = request.find("Content-Length: ");
        whole = head + 4 + (length < head ? std::stoul(request.substr(length + 16)) : 0);
      }
      asked_.push_back(request);
      const std::string answer =
          fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", body.size(), body);
      (void)send(connection, answer.data(), answer.size(), MSG_NOSIGNAL);
      close(connection);
    }
  }

  std::vector<std::string> bodies_, asked_;
  int listener_ = -1;
  uint16_t port_ = 0;
  std::thread thread_;
};

const std::string kModels = R"({"data":[{"id":"toy"}]})";

std::string answer(const std::string& tokens, const std::string& logprobs, const std::string& top) {
  return fmt::format(
      R"({{"choices":[{{"logprobs":{{"tokens":{},"token_logprobs":{},"top_logprobs":{}}}}}]}})",
      tokens,
      logprobs,
      top);
}

class ServedScorerTest : public ::testing::Test {
 protected:
  std::unique_ptr<LoadedModel> toy_ = must(load_model(kToy, {}));

  Result<std::vector<ServedRow>> ask(const std::string& body) {
    ScriptedServer server({kModels, body});
    ServedScorer scorer = must(ServedScorer::connect({.url = server.url()}, toy_->tokenizer));
    const std::vector<TokenId> tokens = {5, 6, 7};
    FARTHING_TRY(const std::span<const ServedRow> rows, scorer.score(tokens, 1));
    EXPECT_EQ(scorer.model(), "toy");
    EXPECT_NE(server.asked()[1].find(R"("prompt":[5,6,7])"), std::string::npos);
    EXPECT_NE(server.asked()[1].find(R"("echo":true)"), std::string::npos);
    return std::vector<ServedRow>(rows.begin(), rows.end());
  }
};

TEST_F(ServedScorerTest, ReadsTokenIds) {
  const std::vector<ServedRow> rows =
      must(ask(answer(R"(["token_id:5","token_id:6","token_id:7","token_id:1"])",
                      "[null,-1.5,-0.25,-3]",
                      R"([null,{"token_id:9":-0.5},{"token_id:7":-0.25},{}])")));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].token.token, 6);
  EXPECT_EQ(rows[0].token.logprob, -1.5f);
  ASSERT_EQ(rows[0].top.size(), 2u);  // the token that is there was told, too
  EXPECT_EQ(rows[0].top[0].token, 9);
  EXPECT_EQ(rows[1].top.size(), 1u);
}

TEST_F(ServedScorerTest, ReadsPiecesOfServersThatKnowNoIds) {
  const std::string six(toy_->tokenizer.piece(40)), other(toy_->tokenizer.piece(50));
  const std::vector<ServedRow> rows = must(ask(answer(
      R"(["a","b","c"])",
      "[null,-1,-2]",
      Json::array({nullptr, {{six, -0.5}, {other, -2.5}}, {{"no such piece", -1}}}).dump())));
  ASSERT_EQ(rows[0].top.size(), 3u);
  EXPECT_TRUE(std::ranges::any_of(rows[0].top, [](const auto& t) { return t.token == 50; }));
  EXPECT_EQ(rows[1].top.size(), 1u);
}

TEST_F(ServedScorerTest, StrangeAnswersAreErrors) {
  const std::string good = answer("[\"token_id:5\",\"token_id:6\",\"token_id:7\"]",
                                  "[null,-1,-2]",
                                  R"([null,{"token_id:1":-1},{"token_id:1":-1}])");
  EXPECT_TRUE(ask(good));
  for (const std::string& body :
       {std::string("no JSON"),
        std::string("[]"),
        std::string("{}"),
        std::string(R"({"choices":[]})"),
        std::string(R"({"choices":[1]})"),
        std::string(R"({"choices":[{"logprobs":null}]})"),
        std::string(R"({"choices":[{"logprobs":{"tokens":["a"]}}]})"),
        answer(R"(["token_id:5"])", "[null]", "[null]"),  // only what was generated
        answer(R"([1,2,3])", "[null,-1,-2]", "[null,{},{}]"),
        answer(R"(["a","b","c"])", R"([null,"x",-2])", "[null,{},{}]"),
        answer(R"(["a","b","c"])", "[null,-1,-2]", "[null,[],{}]"),
        answer(R"(["token_id:5","token_id:8","token_id:7"])", "[null,-1,-2]", "[null,{},{}]"),
        answer(R"(["token_id:5","token_id:99999999","token_id:7"])",
               "[null,-1,-2]",
               "[null,{},{}]")}) {
    EXPECT_FALSE(ask(body)) << body;
  }
  // Names that are no tokens say nothing.
  for (const char* name : {"token_id:-1",
                           "token_id:384",
                           "token_id:",
                           "token_id:1x",
                           "token_id:99999999999999999999"}) {
    const std::vector<ServedRow> rows = must(ask(answer(
        R"(["a","b","c"])", "[null,-1,-2]", fmt::format(R"([null,{{"{}":-1}},{{}}])", name))));
    EXPECT_EQ(rows[0].top.size(), 1u) << name;
  }
}

TEST_F(ServedScorerTest, NobodyThereIsSaid) {
  std::string url;
  {
    const ScriptedServer gone({});
    url = gone.url();
  }
  const auto scorer = ServedScorer::connect({.url = url}, toy_->tokenizer);
  ASSERT_FALSE(scorer);
  EXPECT_NE(scorer.error().message.find("no server answers"), std::string::npos);
  const ScriptedServer other({R"({"data":[{"id":"x","meta":{"n_vocab":7}}]})"});
  EXPECT_FALSE(ServedScorer::connect({.url = other.url()}, toy_->tokenizer));
}

// p = (1/2, 1/4, 1/8, 1/8), q = (1/4, 1/4, 1/4, 1/4). All told: ln 2 / 2 + 0 - 2 * ln 2 / 8. Two of
// them told: what is left is (1/4, 1/2), of which nothing more is known.
TEST(CompareServed, TheDivergenceIsWhatItIsAtLeast) {
  const auto ln = [](double x) { return static_cast<float>(std::log(x)); };
  const std::vector<float> p = {ln(0.5), ln(0.25), ln(0.125), ln(0.125)};
  ServedRow row{.token = {1, ln(0.25)},
                .top = {{0, ln(0.25)}, {1, ln(0.25)}, {2, ln(0.25)}, {3, ln(0.25)}}};
  const RowComparison all = compare_served(p, row);
  EXPECT_NEAR(all.kld, 0.25 * std::log(2), 1e-6);
  EXPECT_NEAR(all.nll, std::log(4), 1e-6);
  EXPECT_NEAR(all.nll_reference, std::log(4), 1e-6);
  EXPECT_TRUE(all.same_top);  // the lowest id, of equal ones
  row.top.resize(2);
  EXPECT_NEAR(compare_served(p, row).kld, 0.5 * std::log(2) + 0.25 * std::log(0.5), 1e-6);
  row.top = {{1, ln(0.25)}};
  const double at_least = compare_served(p, row).kld;
  EXPECT_NEAR(at_least, 0, 1e-6);
  EXPECT_LE(at_least, all.kld);
  row.top = {{1, ln(1.0)}};  // all of it, by its own account
  EXPECT_TRUE(std::isfinite(compare_served(p, row).kld));
  EXPECT_FALSE(compare_served(p, row).same_top);
}

}  // namespace
}  // namespace farthing
