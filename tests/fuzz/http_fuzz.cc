// libFuzzer target: any bytes on a connection to a real server over a scripted backend. However TCP
// cuts them, the answers say the same; each is well-formed; and the server still answers
// afterwards.
#include <algorithm>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "serve/fake_backend_for_tests.h"
#include "serve/http_client_for_tests.h"
#include "serve/http_server.h"
#include "tests/fuzz/require.h"

namespace farthing::fuzz {
namespace {

class Server {
 public:
  Server() {
    ServerOptions options;
    options.port = 0;
    auto made = HttpServer::start(backend_, {}, options);
    require(made.has_value(), "no server: {}", made ? "" : made.error().message);
    server_ = *std::move(made);
    thread_ = std::thread([this] { server_->run(); });
  }
  ~Server() {
    server_->drain();
    thread_.join();
  }
  uint16_t port() const { return server_->port(); }

 private:
  FakeBackend backend_;
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
};

// The statuses of all answers to these bytes, sent in two pieces.
std::vector<int> answers(uint16_t port, std::string_view bytes, size_t cut) {
  TestClient client(port);
  require(client.connected(), "can't connect");
  client.send(bytes.substr(0, cut));
  // The second piece is a read of its own if the server runs in between; it mustn't matter.
  if (cut != 0 && cut != bytes.size()) std::this_thread::yield();
  client.send(bytes.substr(cut));
  client.shutdown_write();
  std::vector<int> statuses;
  for (;;) {
    const TestResponse response = client.read_response();
    if (response.status == 0) break;
    require(response.status >= 100 && response.status < 600, "status {}", response.status);
    statuses.push_back(response.status);
    if (!response.complete || statuses.size() > 100) break;
  }
  return statuses;
}

void fuzz_http(std::string_view bytes) {
  static const Server server;
  // What never ends by itself, and answers without the body they announce, are for the tests of
  // src/serve.
  for (const char* word : {"hold", "slow", "flood", "HEAD"}) {
    if (bytes.find(word) != std::string_view::npos) return;
  }
  if (bytes.empty()) return;
  const size_t cut = static_cast<unsigned char>(bytes.front()) * bytes.size() / 256;
  bytes.remove_prefix(1);
  const std::vector<int> whole = answers(server.port(), bytes, 0);
  const std::vector<int> in_two = answers(server.port(), bytes, std::min(cut, bytes.size()));
  // A client that stops sending may be taken for one that left, with answers still to come: how
  // many come is a matter of time, what they say isn't.
  for (size_t i = 0; i < std::min(whole.size(), in_two.size()); ++i) {
    require(whole[i] == in_two[i], "answer {} is {}, but {} in two pieces", i, whole[i], in_two[i]);
  }
  TestClient client(server.port());
  client.get("/livez");
  require(client.read_response().status == 200, "the server doesn't answer any more");
}

}  // namespace
}  // namespace farthing::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  farthing::fuzz::fuzz_http({reinterpret_cast<const char*>(data), size});
  return 0;
}
