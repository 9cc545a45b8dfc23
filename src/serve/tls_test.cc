// The server over TLS: the same HTTP, and what TLS adds.
#include "serve/tls.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "serve/server_fixture_for_tests.h"

namespace farthing {
namespace {

using namespace std::chrono_literals;

// A certificate that signs itself, and its key, as files that go with the object.
class CertificateFiles {
 public:
  explicit CertificateFiles(const std::string& name)
      : base_(std::filesystem::path(testing::TempDir()) / ("farthing_tls_" + name)) {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME* subject = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(subject,
                               "CN",
                               MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("localhost"),
                               -1,
                               -1,
                               0);
    X509_set_issuer_name(certificate, subject);
    X509_sign(certificate, key, EVP_sha256());
    write(files().certificate, [&](FILE* f) { PEM_write_X509(f, certificate); });
    write(files().key,
          [&](FILE* f) { PEM_write_PrivateKey(f, key, nullptr, nullptr, 0, nullptr, nullptr); });
    write(locked_key(), [&](FILE* f) {
      PEM_write_PKCS8PrivateKey(f, key, EVP_aes_128_cbc(), "secret", 6, nullptr, nullptr);
    });
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  ~CertificateFiles() {
    for (const std::string& path : {files().certificate, files().key, locked_key()})
      std::filesystem::remove(path);
  }
  TlsFiles files() const { return {base_.string() + ".crt", base_.string() + ".key"}; }
  std::string locked_key() const { return base_.string() + ".locked"; }

 private:
  template <class Write>
  static void write(const std::string& path, Write&& content) {
    FILE* f = std::fopen(path.c_str(), "w");
    ASSERT_NE(f, nullptr);
    content(f);
    std::fclose(f);
  }
  std::filesystem::path base_;
};

class TlsTest : public ServerFixture {
 protected:
  void start_tls(ServerOptions options = {}) {
    options.tls = certificate_.files();
    start(std::move(options));
  }
  CertificateFiles certificate_{"server"};
};

TEST_F(TlsTest, AnswersStreamsAndKeepsTheConnection) {
  start_tls();
  TestClient client(port_);
  ASSERT_TRUE(client.use_tls());
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(client.post("/v1/completions", R"({"prompt":"canary","max_tokens":99,"seed":1})"));
    TestResponse r = client.read_response();
    ASSERT_EQ(r.status, 200) << r.body;
    EXPECT_EQ(Json::parse(r.body)["choices"][0]["text"], FakeBackend::kAnswer);
    client.post("/v1/chat/completions",
                R"({"messages":[{"role":"user","content":"Hi"}],"stream":true})");
    r = client.read_response();
    EXPECT_EQ(r.status, 200);
    EXPECT_TRUE(r.complete);
    EXPECT_TRUE(r.body.ends_with("data: [DONE]\n\n"));
  }
  // Two requests at once, in pieces that no record's end cuts.
  ASSERT_TRUE(client.get("/livez"));
  ASSERT_TRUE(client.get("/version"));
  EXPECT_EQ(client.read_response().status, 200);
  EXPECT_EQ(client.read_response().status, 200);
}

TEST_F(TlsTest, LargeBodiesAndAnswersThatCloseSayGoodbye) {
  start_tls();
  TestClient client(port_);
  ASSERT_TRUE(client.use_tls());
  const std::string prompt(1 << 18, 'a');
  ASSERT_TRUE(client.post("/tokenize", R"({"prompt":")" + prompt + R"("})"));
  EXPECT_EQ(client.read_response().status, 200);
  ASSERT_TRUE(client.get("/livez", "Connection: close\r\n"));
  EXPECT_EQ(client.read_response().status, 200);
  EXPECT_TRUE(client.at_end());
  EXPECT_TRUE(client.said_goodbye());
}

// While an answer is made, the next request has come in part, cut within a TLS record.
TEST_F(TlsTest, APartOfARecordHoldsUpNothing) {
  start_tls();
  for (size_t cut : {1u, 5u, 100u, 8000u, 12000u}) {
    TestClient client(port_, 5000), other(port_, 5000);
    ASSERT_TRUE(client.use_tls());
    ASSERT_TRUE(other.use_tls());
    const auto padded = [](std::string_view path, size_t n) {
      return fmt::format(
          "GET {} HTTP/1.1\r\nHost: x\r\nX-Padding: {}\r\n\r\n", path, std::string(n, 'a'));
    };
    const std::string first = client.records_of(padded("/livez", 9000));
    const std::string second = client.records_of(padded("/version", 15000));
    client.send_raw(first + second.substr(0, cut));
    EXPECT_EQ(client.read_response().status, 200) << cut;
    ASSERT_TRUE(other.get("/livez"));  // the HTTP thread lives
    EXPECT_EQ(other.read_response().status, 200) << cut;
    client.send_raw(second.substr(cut));
    EXPECT_EQ(client.read_response().status, 200) << cut;
  }
}

TEST_F(TlsTest, AClientThatLeavesEndsItsRequest) {
  start_tls();
  {
    TestClient client(port_);
    ASSERT_TRUE(client.use_tls());
    ASSERT_TRUE(
        client.post("/v1/completions", R"({"prompt":"slow","max_tokens":1000000,"stream":true})"));
    ASSERT_TRUE(client.read_until("data: "));
  }
  EXPECT_TRUE(backend_idle());
}

// Whoever doesn't speak TLS, says nothing or breaks off in the middle of it holds nothing.
TEST_F(TlsTest, HandshakesThatFail) {
  ServerOptions options;
  options.header_timeout = 300ms;
  start_tls(std::move(options));
  {
    TestClient first(port_);
    ASSERT_TRUE(first.use_tls());
    ASSERT_TRUE(first.get("/livez", "Connection: close\r\n"));
    EXPECT_EQ(first.read_response().status, 200);
  }
  std::this_thread::sleep_for(50ms);
  const Footprint baseline = Footprint::now();
  {
    TestClient plain(port_, 5000), silent(port_, 5000), half(port_, 5000), random(port_, 5000);
    plain.get("/livez");
    while (plain.read_more()) {
    }
    EXPECT_EQ(plain.buffer().find("200"), std::string::npos);
    EXPECT_TRUE(silent.at_end());
    half.send(std::string_view("\x16\x03\x01\x02\x00\x01\x00", 7));
    EXPECT_TRUE(half.at_end());
    random.send(std::string(100000, '\x7f'));
    while (random.read_more()) {
    }
  }
  expect_back_at(baseline);
  TestClient after(port_);
  EXPECT_TRUE(after.use_tls());
}

TEST(TlsFilesTest, SayWhatIsWrong) {
  const CertificateFiles own("own"), other("other");
  const auto error = [](const std::string& certificate, const std::string& key) {
    const auto tls = load_tls({certificate, key});
    EXPECT_FALSE(tls);
    return tls ? std::string() : tls.error().message;
  };
  const std::string cert = own.files().certificate, key = own.files().key;
  EXPECT_TRUE(load_tls(own.files()));
  EXPECT_EQ(*load_tls({}), nullptr);
  EXPECT_EQ(error(cert, ""), "--tls-cert needs its --tls-key");
  EXPECT_EQ(error("", key), "--tls-key needs its --tls-cert");
  EXPECT_NE(error("/no/such", key).find("/no/such"), std::string::npos);
  EXPECT_TRUE(error(key, key).starts_with("--tls-cert " + key + ": no certificate in PEM"));
  EXPECT_TRUE(error(cert, cert).starts_with("--tls-key " + cert + ": no private key in PEM"));
  EXPECT_TRUE(error(cert, other.files().key).starts_with("--tls-key "));
  EXPECT_TRUE(error(cert, own.locked_key()).starts_with("--tls-key "));
}

}  // namespace
}  // namespace farthing
