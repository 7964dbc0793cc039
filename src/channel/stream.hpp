#pragma once
// Messages over a stream of bytes: each a frame, then its bytes. Between the frames nothing is read ahead, so the
// descriptor is readable as long as there is something to receive. A message that was begun is kept where a deadline ends
// the wait for the rest.
//
// The threads of one process take turns, one message each; processes that share a stream must not use it at once.
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

#include "channel/bytes.hpp"
#include "channel/core.hpp"
#include "channel/frame.hpp"
#include "channel/packets.hpp"
#include "channel/staging.hpp"

namespace tandem::channel {

class stream final : public detail::channel_core {
 public:
  explicit stream(std::unique_ptr<byte_stream> bytes, packet_options options = {});

  bool send(const outgoing&, clock::time_point deadline) override;
  arrival receive(sink&, clock::time_point deadline) override;
  bool ready() override;
  detail::wait_state look() override;
  bool greet(clock::time_point) override;
  int native_handle() const noexcept override { return bytes_->socket().get(); }
  bool is_stream() const noexcept override { return true; }
  void write(writer&) override;

 private:
  enum class progress { waiting, answered, begun, whole, ended };

  bool has_room(std::size_t bytes) const;
  long read_some(std::span<std::byte>, clock::time_point deadline);
  progress take_frame(clock::time_point deadline);
  progress take_body(clock::time_point deadline);
  void take_into(sink&);
  void fill(std::span<std::byte>);
  void begin_next();
  [[noreturn]] void fail(const char* why);
  [[noreturn]] void fail_unanswered(bool begun);
  void require_answer() const;
  bool awaits() const noexcept { return answer_.load(std::memory_order_relaxed) != answer::welcome; }

  const std::unique_ptr<byte_stream> bytes_;
  const std::size_t most_bytes_;
  const clock::time_point welcome_deadline_;
  std::atomic<answer> answer_;
  std::atomic<bool> broken_{false};  // in one way or the other: there is no telling where a message begins
  std::atomic<bool> known_ready_{false};
  std::timed_mutex sending_;
  std::timed_mutex receiving_;  // of what follows
  frame head_;
  std::size_t head_filled_ = 0;
  std::vector<std::byte> body_;
  std::size_t filled_ = 0;
  bool ended_ = false;
};

}  // namespace tandem::channel
