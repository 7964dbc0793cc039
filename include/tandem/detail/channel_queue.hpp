#pragma once
// A handle of a message queue, whatever it carries: bytes of one size, or of any.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>

#include <tandem/detail/channel_end.hpp>

namespace tandem {

struct queue_options {
  std::size_t bytes = 0;  // that wait in it at most; 0: capacity * max(sizeof(T), 256), at least 1 MiB
};

/// What has happened in a queue so far.
struct queue_stats {
  std::size_t pushed = 0;
  std::size_t popped = 0;
  std::size_t torn = 0;  // their pusher was killed while it wrote them
  std::size_t lost = 0;  // their popper was killed while it took them
};

namespace detail {

/// What a queue is made for. Both sides know the first three by the type of the handle.
struct queue_form {
  std::uint32_t flat_bytes = 0;  // of a message; 0: of any size
  std::uint32_t alignment = 1;
  std::uint64_t value_bytes = 0;  // sizeof(T)
  std::uint64_t capacity = 0;
  std::uint64_t bytes = 0;
};

/// A position in a queue that is being written or read in place.
struct queue_place {
  void* address = nullptr;  // nullptr: there is none
  std::uint64_t position = 0;
};

class queue_core;

/// Copies are of the same queue.
class TANDEM_EXPORT queue_end {
 public:
  queue_end() noexcept = default;  // moved from, and may only be destroyed or assigned to
  explicit queue_end(const queue_form&);

  /// True if it was pushed; false if the deadline came first. Errors: closed, cancelled, std::length_error.
  bool push(const outgoing&, clock::time_point deadline, const std::stop_token* = nullptr) const;
  /// One of any size. Errors: closed if the last pusher was killed; cancelled; what the sink throws.
  arrival pop(sink&, clock::time_point deadline, const std::stop_token* = nullptr) const;
  /// One of one size, into that many bytes.
  arrival pop_flat(void* into, clock::time_point deadline, const std::stop_token* = nullptr) const;

  /// In place. A place that was taken is given back by one of the other two, once.
  queue_place begin_push(clock::time_point deadline) const;
  void finish_push(const queue_place&) const;
  void abandon_push(const queue_place&) const noexcept;
  queue_place begin_pop(arrival&, clock::time_point deadline) const;
  void finish_pop(const queue_place&) const noexcept;

  void close() const;
  bool is_closed() const noexcept;
  std::size_t size() const noexcept;
  std::size_t capacity() const noexcept;
  queue_stats stats() const;
  void task_done() const;
  void join() const;

  /// For wait_any.
  bool ready() const;
  void watch(int event) const;
  void unwatch(int event) const noexcept;

  void write(writer&) const;
  static queue_end read(reader&, const queue_form& expected);

 private:
  explicit queue_end(std::shared_ptr<queue_core> core) noexcept : core_(std::move(core)) {}
  queue_core& core() const;
  std::shared_ptr<queue_core> core_;
};

[[noreturn]] TANDEM_EXPORT void throw_no_place();
[[noreturn]] TANDEM_EXPORT void throw_drained();

}  // namespace detail
}  // namespace tandem
