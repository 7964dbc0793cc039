#pragma once
// Peers that write what they like.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include "channel/handshake.hpp"

namespace tandem::test {

class raw_peer {
 public:
  explicit raw_peer(const std::string& address) {
    if (address.starts_with("tcp://")) {
      sockaddr_in at{};
      at.sin_family = AF_INET;
      at.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
      at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (::connect(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) throw std::runtime_error("connect");
    } else {
      sockaddr_un at{};
      at.sun_family = AF_UNIX;
      const std::string name = address.substr(6);
      std::memcpy(at.sun_path + 1, name.data(), name.size());
      fd_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
      const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
      if (::connect(fd_, reinterpret_cast<sockaddr*>(&at), size) != 0) throw std::runtime_error("connect");
    }
  }
  explicit raw_peer(int fd) : fd_(fd) {}
  raw_peer(raw_peer&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  raw_peer& operator=(raw_peer&&) = delete;
  ~raw_peer() {
    if (fd_ >= 0) ::close(fd_);
  }
  void write(std::span<const std::byte> all) const {
    static_cast<void>(!::send(fd_, all.data(), all.size(), MSG_NOSIGNAL));
  }
  template <class T>
  void write_object(const T& object) const {
    write(std::as_bytes(std::span(&object, 1)));
  }
  bool is_hung_up() const {
    char byte = 0;
    for (;;) {
      const ssize_t n = ::recv(fd_, &byte, 1, 0);
      if (n <= 0) return true;
    }
  }
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

/// One that others connect to.
class raw_listener {
 public:
  raw_listener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at);
    ::listen(fd_, 16);
    socklen_t size = sizeof at;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    address_ = "tcp://127.0.0.1:" + std::to_string(ntohs(at.sin_port));
  }
  raw_listener(const raw_listener&) = delete;
  raw_listener& operator=(const raw_listener&) = delete;
  ~raw_listener() { ::close(fd_); }
  raw_peer accept() const { return raw_peer(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC)); }
  const std::string& address() const { return address_; }

 private:
  int fd_;
  std::string address_;
};

inline channel::hello good_hello() {
  channel::hello h;
  h.sends = h.receives = detail::fingerprint<std::string>();
  return h;
}

}  // namespace tandem::test
