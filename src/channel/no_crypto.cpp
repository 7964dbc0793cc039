// In place of crypto.cpp and tls.cpp, where the library is built without OpenSSL.
#include <tandem/error.hpp>

#include "channel/crypto.hpp"

namespace tandem::channel {

namespace {
[[noreturn]] void throw_without() {
  throw unsupported(
      "tandem: this library was built without OpenSSL (TANDEM_TLS=OFF), which .key and .tls need: build it with "
      "-DTANDEM_TLS=ON");
}
}  // namespace

class tls_context {};

void fill_random(std::span<std::byte>) { throw_without(); }
digest authenticate(const std::string&, parts) { throw_without(); }
bool same(const digest&, const digest&) noexcept { return false; }
void require_crypto(const socket_options& options) {
  if (!options.key.empty() || options.tls) throw_without();
}
std::shared_ptr<tls_context> make_tls_context(const tls_options&, bool) { throw_without(); }
std::unique_ptr<tls_bytes> make_tls(const std::shared_ptr<tls_context>&, file_descriptor, const std::string&) {
  throw_without();
}

}  // namespace tandem::channel
