// A blocking HTTP client on a plain socket, or TLS over it, that can send anything, also what no
// client should.
#pragma once

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace farthing {

struct TestResponse {
  int status = 0;                              // 0: the connection ended or nothing came in time
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // chunks joined
  bool complete = false;                       // ended as its framing says
};

class TestClient {
 public:
  explicit TestClient(uint16_t port, int timeout_ms = 60000) : timeout_ms_(timeout_ms) {
    fd_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  // TLS with whoever is there, whose certificate isn't looked at.
  bool use_tls() {
    context_ = SSL_CTX_new(TLS_client_method());
    tls_ = SSL_new(context_);
    SSL_set_fd(tls_, fd_);
    return SSL_connect(tls_) == 1;
  }
  ~TestClient() {
    close();
    SSL_free(tls_);
    SSL_CTX_free(context_);
  }
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  bool connected() const { return connected_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void shutdown_write() { ::shutdown(fd_, SHUT_WR); }

  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = tls_ ? SSL_write(tls_, bytes.data(), static_cast<int>(bytes.size()))
                             : ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  bool post(std::string_view path, std::string_view body, std::string_view headers = "") {
    return send(
        fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                    "Content-Length: {}\r\n{}\r\n{}",
                    path,
                    body.size(),
                    headers,
                    body));
  }
  bool get(std::string_view path, std::string_view headers = "") {
    return send(fmt::format("GET {} HTTP/1.1\r\nHost: x\r\n{}\r\n", path, headers));
  }

  // Until `mark` has come; false if the connection ends or time is up first.
  bool read_until(std::string_view mark) {
    while (buffer_.find(mark) == std::string::npos) {
      if (!read_more()) return false;
    }
    return true;
  }
  bool read_more() {
    pollfd waiting{fd_, POLLIN, 0};
    const bool at_hand = tls_ && SSL_pending(tls_) > 0;
    if (!at_hand && poll(&waiting, 1, timeout_ms_) <= 0) return false;
    char bytes[65536];
    const ssize_t n =
        tls_ ? SSL_read(tls_, bytes, sizeof bytes) : recv(fd_, bytes, sizeof bytes, 0);
    if (n <= 0) {
      said_goodbye_ = tls_ && SSL_get_error(tls_, static_cast<int>(n)) == SSL_ERROR_ZERO_RETURN;
      ended_ = true;
      return false;
    }
    buffer_.append(bytes, static_cast<size_t>(n));
    return true;
  }
  // The server closed the connection (and nothing more came).
  bool at_end() {
    while (!ended_ && read_more()) {
    }
    return ended_ && buffer_.empty();
  }
  // What would go over the wire for these bytes: for tests that send a part of it.
  std::string records_of(std::string_view bytes) {
    BIO* socket = SSL_get_wbio(tls_);
    BIO_up_ref(socket);
    BIO* memory = BIO_new(BIO_s_mem());
    SSL_set0_wbio(tls_, memory);
    SSL_write(tls_, bytes.data(), static_cast<int>(bytes.size()));
    std::string records(BIO_ctrl_pending(memory), '\0');
    BIO_read(memory, records.data(), static_cast<int>(records.size()));
    SSL_set0_wbio(tls_, socket);
    return records;
  }
  void send_raw(std::string_view bytes) {
    (void)::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  bool said_goodbye() const { return said_goodbye_; }  // the end of TLS, not of the socket alone
  std::string& buffer() { return buffer_; }

  TestResponse read_response(bool head_only = false) {
    TestResponse r;
    if (!read_until("\r\n\r\n")) return r;
    const size_t head_end = buffer_.find("\r\n\r\n");
    parse_head(buffer_.substr(0, head_end + 2), &r);
    buffer_.erase(0, head_end + 4);
    if (r.status == 100 || r.status == 204 || head_only) {
      r.complete = true;
    } else if (r.headers.contains("transfer-encoding")) {
      read_chunks(&r);
    } else if (r.headers.contains("content-length")) {
      const size_t length = std::stoul(r.headers["content-length"]);
      while (buffer_.size() < length && read_more()) {
      }
      r.complete = buffer_.size() >= length;
      r.body = buffer_.substr(0, length);
      buffer_.erase(0, length);
    } else {
      while (read_more()) {
      }
      r.complete = ended_;
      r.body = std::move(buffer_);
      buffer_.clear();
    }
    return r;
  }

 private:
  static void parse_head(const std::string& head, TestResponse* r) {
    r->status = head.size() > 12 ? std::atoi(head.c_str() + 9) : 0;
    for (size_t at = head.find("\r\n") + 2; at < head.size();) {
      const size_t end = head.find("\r\n", at);
      const std::string line = head.substr(at, end - at);
      at = end + 2;
      const size_t colon = line.find(": ");
      if (colon == std::string::npos) continue;
      std::string name = line.substr(0, colon);
      std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) {
        return static_cast<char>(std::tolower(c));
      });
      r->headers[name] = line.substr(colon + 2);
    }
  }
  void read_chunks(TestResponse* r) {
    while (read_until("\r\n")) {
      const size_t line_end = buffer_.find("\r\n");
      const size_t size = std::stoul(buffer_, nullptr, 16);
      while (buffer_.size() < line_end + 2 + size + 2) {
        if (!read_more()) return;
      }
      r->body += buffer_.substr(line_end + 2, size);
      buffer_.erase(0, line_end + 2 + size + 2);
      if (size == 0) {
        r->complete = true;
        return;
      }
    }
  }

  int fd_ = -1;
  int timeout_ms_;
  bool connected_ = false;
  bool ended_ = false;
  SSL_CTX* context_ = nullptr;
  SSL* tls_ = nullptr;
  bool said_goodbye_ = false;
  std::string buffer_;
};

}  // namespace farthing
