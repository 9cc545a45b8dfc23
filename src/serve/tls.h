// TLS of the listener.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>

#include "base/result.h"

namespace farthing {

// PEM files; both empty: no TLS.
struct TlsFiles {
  std::string certificate;  // the server's, then those that lead to the authority's
  std::string key;          // its private key, without a passphrase
};

// TLS 1.2 and 1.3. Null without files. kUsage if one of them is missing, kBadInput if one isn't
// what it should be, or the key isn't the certificate's.
Result<std::unique_ptr<boost::asio::ssl::context>> load_tls(const TlsFiles& files);

}  // namespace farthing
