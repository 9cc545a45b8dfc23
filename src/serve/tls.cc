#include "serve/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <boost/asio/buffer.hpp>

#include "base/mapped_file.h"

namespace farthing {

namespace ssl = boost::asio::ssl;

namespace {

constexpr size_t kMostPemBytes = 1 << 20;

Error not_usable(std::string_view flag,
                 const std::string& path,
                 std::string_view what,
                 const boost::system::error_code& code) {
  ERR_clear_error();
  return Error{ErrorKind::kBadInput,
               fmt::format("{} {}: {}: {}", flag, path, what, code.message())};
}

}  // namespace

Result<std::unique_ptr<ssl::context>> load_tls(const TlsFiles& files) {
  if (files.certificate.empty() && files.key.empty()) return std::unique_ptr<ssl::context>();
  if (files.key.empty()) return usage_error("--tls-cert needs its --tls-key");
  if (files.certificate.empty()) return usage_error("--tls-key needs its --tls-cert");
  FARTHING_TRY(const std::string certificate, read_file(files.certificate, kMostPemBytes));
  FARTHING_TRY(const std::string key, read_file(files.key, kMostPemBytes));

  auto context = std::make_unique<ssl::context>(ssl::context::tls_server);
  SSL_CTX* native = context->native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  SSL_CTX_set_options(native, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);  // of idle connections; asio keeps its own
  // Or OpenSSL would ask for it on the terminal.
  boost::system::error_code code;
  context->set_password_callback([](size_t, ssl::context::password_purpose) { return ""; }, code);
  context->use_certificate_chain(boost::asio::buffer(certificate), code);
  if (code)
    return not_usable("--tls-cert", files.certificate, "no certificate in PEM can be read", code);
  context->use_private_key(boost::asio::buffer(key), ssl::context::pem, code);
  if (code) {
    return not_usable("--tls-key",
                      files.key,
                      "no private key in PEM, without a passphrase and of this certificate, can be "
                      "read",
                      code);
  }
  return context;
}

}  // namespace farthing
