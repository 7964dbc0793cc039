#pragma once
// Messages over a unix socket of packets (SOCK_SEQPACKET). The kernel takes and gives a packet whole, so any number of
// threads and processes can share both ends without a lock, and one that is killed harms no other.
//
// A packet of up to 64 KiB always can be had. Larger ones, up to a MiB, are tried: the kernel has to find a block of memory
// for each, and the socket's buffer may be that large only if the system's limits let it.
//
// A message that is too large for a packet, or has too many handles, is sent as a packet that holds the frame and the
// descriptors of where the rest is: a stream of its own, into which the sender writes while the receiver reads; or, where
// the sender must not wait for that, a sealed memfd. Handles beyond the kernel's number wait in a socket of their own. So
// here too it is one packet that counts: whoever receives it has the message, and who dies over it costs no other.
#include <array>
#include <atomic>
#include <deque>
#include <mutex>
#include <optional>

#include "channel/core.hpp"
#include "channel/frame.hpp"

namespace tandem::channel {

using detail::arrival;
using detail::outgoing;
using detail::sink;

/// A message of which the frame was received, and not yet all of the bytes. What nobody took of it is closed without a
/// wait.
struct begun_message {
  frame head = {};
  std::vector<file_descriptor> handles = {};
  file_descriptor source = {};  // of the bytes; none if they are all there
  bool in_memory = false;       // the source is a memfd
  std::vector<std::byte> bytes = {};
  std::size_t filled = 0;

  bool died = false;  // the sender, before all of them came

  begun_message() = default;
  begun_message(begun_message&&) = default;
  begun_message& operator=(begun_message&&) = default;
  ~begun_message();

  bool complete() const noexcept { return filled == head.bytes; }
  /// Takes in what comes until the deadline.
  void assemble(clock::time_point deadline);
};

/// Of a listener, to the client.
enum class answer { welcome, awaited, refusal };

/// What a connection has that goes through a listener.
struct packet_options {
  std::size_t most_bytes = no_limit;
  answer first_answer = answer::welcome;
  clock::time_point welcome_deadline = os::never;
};

class packets final : public detail::channel_core {
 public:
  explicit packets(file_descriptor socket, packet_options options = {});

  bool send(const outgoing&, clock::time_point deadline) override;
  arrival receive(sink&, clock::time_point deadline) override;
  bool ready() override;
  bool greet(clock::time_point) override;
  detail::wait_state look() override;
  int native_handle() const noexcept override { return socket_.get(); }
  void write(writer&) override;

 private:
  struct packet;
  enum class outcome { sent, late, no_room };  // the last: the kernel has none for a packet of that size

  std::size_t packet_limit();
  outcome send_packet(const frame&, const outgoing&, std::span<const int> descriptors, clock::time_point deadline);
  bool send_apart(const outgoing&, clock::time_point deadline);
  void write_payload(int stream, const outgoing&);
  os::message receive_packet(packet&, bool may_wait) const;
  arrival next_packet(packet&, sink&, clock::time_point deadline);
  void look_ahead(packet&, sink&, bool may_wait) const;
  arrival deliver(packet&, sink&, clock::time_point deadline);
  arrival finish(begun_message&&, sink&, clock::time_point deadline, bool resumed);
  void keep(begun_message&&, bool resumed);
  bool take_answer();
  bool awaits() const noexcept { return answer_.load(std::memory_order_relaxed) != answer::welcome; }

  file_descriptor socket_;
  const std::size_t most_bytes_;
  std::atomic<answer> answer_;
  const clock::time_point welcome_deadline_;
  std::atomic<std::size_t> packet_limit_{0};         // 0: not yet known
  std::atomic<int> keep_apart_{0};                   // so many large messages to come: there was no memory for a packet
  std::atomic<bool> expects_large_messages_{false};  // for the last one was
  std::atomic<bool> has_begun_{false};
  std::mutex mutex_;  // of what follows
  std::deque<begun_message> begun_;
};

}  // namespace tandem::channel
