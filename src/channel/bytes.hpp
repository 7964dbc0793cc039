#pragma once
// A stream of bytes to a peer: plain, or encrypted (tls.hpp).
#include <initializer_list>
#include <memory>
#include <span>

#include "os/kernel.hpp"

namespace tandem::channel {

using parts = std::initializer_list<std::span<const std::byte>>;

class byte_stream {
 public:
  byte_stream() = default;
  byte_stream(const byte_stream&) = delete;
  byte_stream& operator=(const byte_stream&) = delete;
  virtual ~byte_stream() = default;

  /// How many were read; 0 at the end; -EAGAIN if none are there; minus errno. One that may wait does not come back
  /// before all are there, unless it must.
  virtual long read(std::span<std::byte>, bool may_wait) = 0;
  /// How many were written; -EAGAIN if there is no room; minus errno.
  virtual long write(parts, bool may_wait) = 0;
  /// 0 once all that write() took is on its way; -EAGAIN, minus errno.
  virtual long flush() { return 0; }
  /// Bytes for read() are here already, where no poll sees them.
  virtual bool holds_bytes() const noexcept { return false; }
  /// What the last -EAGAIN of read() or write() waits for is room to write.
  virtual bool waits_to_write(bool writing) const noexcept { return writing; }
  virtual bool can_be_passed_on() const noexcept { return true; }
  virtual const file_descriptor& socket() const noexcept = 0;
};

class plain_bytes final : public byte_stream {
 public:
  explicit plain_bytes(file_descriptor socket) : socket_(std::move(socket)) {}
  long read(std::span<std::byte> into, bool may_wait) override {
    return may_wait ? os::receive_bytes(socket_.get(), into) : os::receive_bytes_now(socket_.get(), into);
  }
  long write(parts from, bool may_wait) override {
    return may_wait ? os::send_bytes(socket_.get(), from) : os::send_bytes_now(socket_.get(), from);
  }
  const file_descriptor& socket() const noexcept override { return socket_; }

 private:
  file_descriptor socket_;
};

}  // namespace tandem::channel
