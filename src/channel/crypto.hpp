#pragma once
// What of OpenSSL the channels use. Built without it (TANDEM_TLS=OFF) these throw unsupported.
#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include <tandem/socket.hpp>

#include "channel/bytes.hpp"

namespace tandem::channel {

using digest = std::array<std::byte, 32>;

void fill_random(std::span<std::byte>);
/// HMAC-SHA-256 of the parts, one after the other.
digest authenticate(const std::string& key, parts message);
/// In a time that says nothing about where they differ.
bool same(const digest&, const digest&) noexcept;
/// Throws unsupported where these options cannot be honoured.
void require_crypto(const socket_options&);

/// Certificates and keys of one side; shared by its connections.
class tls_context;
std::shared_ptr<tls_context> make_tls_context(const tls_options&, bool of_listener);

class tls_bytes : public byte_stream {
 public:
  /// One step of the handshake: true once it is done. Throws authentication_failed for certificates that are not good,
  /// broken_connection for what is no TLS.
  virtual bool shake() = 0;
  virtual bool waits_to_write_for_shaking() const noexcept = 0;
};
/// `server_name`: whom the listener's certificate must name; of a listener, nobody.
std::unique_ptr<tls_bytes> make_tls(const std::shared_ptr<tls_context>&, file_descriptor socket,
                                    const std::string& server_name);

}  // namespace tandem::channel
