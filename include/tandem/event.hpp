#pragma once
// A flag that one sets and others wait for.
#include <tandem/detail/sync_word.hpp>

namespace tandem {

namespace detail {
TANDEM_EXPORT void set_event(lock_word&) noexcept;
TANDEM_EXPORT bool await_event(lock_word&, clock::time_point deadline);
TANDEM_EXPORT void reset_event(lock_word&) noexcept;
}  // namespace detail

/// A flag that threads or processes wait for, as Python's Event. Who waits when it is set goes on, even if it is reset at
/// once. The death of a waiter, or of the one who was to set it, changes nothing.
/// Threads: any, of any process of the session, at once. Fork: as mutex.
class event {
 public:
  event() noexcept = default;
  event(const event&) = delete;
  event& operator=(const event&) = delete;

  /// From now on it is set: whoever waits goes on, and sees what was done before this.
  /// Cost: one atomic step; a system call if somebody waits.
  void set() noexcept { detail::set_event(word_); }
  /// From now on it is not set.
  void reset() noexcept { detail::reset_event(word_); }
  /// True while it is set.
  bool is_set() const noexcept { return (word_.load(std::memory_order_acquire) & 1) != 0; }
  /// Returns once it is set.
  /// Blocks: until then. Errors: the first time in a thread, if it has to wait: resource_exhausted, not_initialised.
  void wait() { wait_until(clock::time_point::max()); }
  /// True if it is set, or was while this waited; false if not within `timeout`, or until `deadline`.
  /// Blocks: until then. Errors: as wait().
  bool wait_for(nanoseconds timeout) { return is_set() || wait_until(deadline_after(timeout)); }
  bool wait_until(clock::time_point deadline) { return is_set() || detail::await_event(word_, deadline); }

 private:
  detail::lock_word word_{0};
};

template <>
inline constexpr bool detail::is_of_session<event> = true;

}  // namespace tandem
