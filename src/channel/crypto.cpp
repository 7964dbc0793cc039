// Keys: what a proof is made of. OpenSSL's libcrypto.
#include "channel/crypto.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <vector>

#include <tandem/error.hpp>

namespace tandem::channel {

void fill_random(std::span<std::byte> bytes) {
  // SAFETY: unsigned char may be any object's bytes
  if (::RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(bytes.size())) != 1)
    throw tandem::error("tandem: OpenSSL has no random numbers to give");
}

digest authenticate(const std::string& key, parts message) {
  std::vector<unsigned char> all;
  std::size_t size = 0;
  for (const auto& part : message) size += part.size();
  all.reserve(size);
  for (const auto& part : message) {
    for (const std::byte b : part) all.push_back(std::to_integer<unsigned char>(b));
  }
  digest made{};
  unsigned length = 0;
  const auto* const done = ::HMAC(::EVP_sha256(), key.data(), static_cast<int>(key.size()), all.data(), all.size(),
                                  reinterpret_cast<unsigned char*>(made.data()), &length);
  if (done == nullptr || length != made.size()) throw tandem::error("tandem: OpenSSL has no HMAC-SHA-256 to give");
  return made;
}

bool same(const digest& a, const digest& b) noexcept { return ::CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0; }

void require_crypto(const socket_options&) {}

}  // namespace tandem::channel
