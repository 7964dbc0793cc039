#pragma once
// What carries the messages of one end: packets (packets.hpp) or a stream of bytes (stream.hpp).
#include <tandem/detail/channel_end.hpp>

#include "os/kernel.hpp"

namespace tandem::detail {

class channel_core {
 public:
  channel_core() = default;
  channel_core(const channel_core&) = delete;
  channel_core& operator=(const channel_core&) = delete;
  virtual ~channel_core() = default;

  virtual bool send(const outgoing&, clock::time_point deadline) = 0;
  virtual arrival receive(sink&, clock::time_point deadline) = 0;
  /// True if receive() would have something. Never waits; may take in a part of a message.
  virtual bool ready() = 0;
  /// What becomes readable before ready() changes; without a system call.
  virtual wait_state look() = 0;
  virtual int native_handle() const noexcept = 0;
  /// Waits for the answer of the listener, if it is still to come: false at the deadline. Throws if it is a refusal.
  virtual bool greet(clock::time_point) { return true; }
  virtual bool is_stream() const noexcept { return false; }
  /// For another holder: this end in another process. Throws if it cannot be there.
  virtual void write(writer&) = 0;
};

}  // namespace tandem::detail
