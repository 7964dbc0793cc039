#pragma once
// One end of a channel, whatever it carries: messages of bytes and handles, each whole or not at all.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <tandem/deadline.hpp>
#include <tandem/detail/channel_wait.hpp>
#include <tandem/detail/export.hpp>
#include <tandem/file_descriptor.hpp>

namespace tandem {
class reader;
class writer;
}  // namespace tandem

namespace tandem::detail {

struct channel_access;

inline constexpr clock::time_point no_deadline = clock::time_point::max();
inline constexpr clock::time_point at_once{};
/// The moment `timeout` from now; never no_deadline.
inline clock::time_point moment_after(nanoseconds timeout) noexcept {
  return std::min(deadline_after(timeout), no_deadline - nanoseconds(1));
}

/// A message on its way out: `head`, then `body`, which is sent from where it is.
struct outgoing {
  std::span<const std::byte> head = {};
  std::span<const std::byte> body = {};
  std::span<const file_descriptor> handles = {};
};

/// What takes a message that arrives: all of it at once, by whole() or owned(); or a large one piece by piece, by room()
/// until it is there, and then filled(). What these throw, receive() throws; the message is lost.
class sink {
 public:
  static constexpr std::size_t lead_bytes = sizeof(std::uint64_t);

  sink() = default;
  sink(const sink&) = delete;
  sink& operator=(const sink&) = delete;

  virtual void whole(std::span<const std::byte> bytes) = 0;  // valid until this returns
  virtual void owned(std::vector<std::byte>&& bytes) { whole(bytes); }
  /// Where the bytes after the first `filled` of `total` go: at least one.
  virtual std::span<std::byte> room(std::size_t total, std::size_t filled) = 0;
  virtual void filled() = 0;
  /// False if what comes of handles is not wanted.
  virtual bool takes_handles() const noexcept { return false; }
  /// True if place() can have something to give.
  virtual bool has_place() const noexcept { return false; }
  /// Where the bytes of a message of `total` go, all that come after the first `lead_bytes`, which are `lead`: none if it
  /// does not matter. Then filled(); or, if another message came after all, owned().
  virtual std::span<std::byte> place(std::size_t total, std::span<const std::byte, lead_bytes> lead) {
    static_cast<void>(total);
    static_cast<void>(lead);
    return {};
  }
  /// Memory that a message may be put into before its size is known, and the most that can be taken.
  virtual std::span<std::byte> direct() noexcept { return {}; }
  virtual std::size_t limit() const noexcept { return static_cast<std::size_t>(-1); }

  std::vector<file_descriptor> handles = {};  // those that came with it; set before the bytes

 protected:
  ~sink() = default;
};

enum class arrival { none, message, closed };

class channel_core;

/// Copies share the end; it is closed with the last of them.
class TANDEM_EXPORT channel_end {
 public:
  channel_end() noexcept = default;  // a closed one
  explicit channel_end(std::shared_ptr<channel_core> core) noexcept;
  channel_end(const channel_end&) noexcept;
  channel_end(channel_end&&) noexcept;
  channel_end& operator=(const channel_end&) noexcept;
  channel_end& operator=(channel_end&&) noexcept;
  ~channel_end();

  /// True if it was sent; false if the deadline came first, and nothing was.
  bool send(const outgoing&, clock::time_point deadline) const;
  arrival receive(sink&, clock::time_point deadline) const;
  /// True if receive() would have something, or the end.
  bool poll(clock::time_point deadline) const;
  void close() noexcept;
  int native_handle() const noexcept;

  /// For wait_any: as poll(at_once), but true of a closed one.
  bool ready() const;
  wait_state look() const;

  void write(writer&) const;
  static channel_end read(reader&);

 private:
  channel_core& core() const;
  std::shared_ptr<channel_core> core_;
};

/// Both ends of a new channel.
struct end_pair {
  channel_end first;
  channel_end second;
};
TANDEM_EXPORT end_pair make_ends();

[[noreturn]] TANDEM_EXPORT void throw_all_closed();

}  // namespace tandem::detail
