#pragma once
// A lock with one writer or many readers.
#include <tandem/mutex.hpp>

namespace tandem {

namespace detail {

struct reader_state {
  std::atomic<std::uint64_t> readers{0};
  std::atomic<std::uint64_t> number{0};
};
TANDEM_EXPORT bool lock_alone(lock_word&, reader_state&, clock::time_point deadline);
TANDEM_EXPORT bool try_lock_alone(lock_word&, reader_state&);
TANDEM_EXPORT void unlock_alone(lock_word&, reader_state&);
TANDEM_EXPORT void enter_for_repair(lock_word&, reader_state&);
TANDEM_EXPORT void leave_after_repair(lock_word&, reader_state&) noexcept;
TANDEM_EXPORT bool lock_shared(lock_word&, reader_state&, clock::time_point deadline);
TANDEM_EXPORT bool try_lock_shared(lock_word&, reader_state&);
TANDEM_EXPORT void unlock_shared(lock_word&, reader_state&);

}  // namespace detail

/// A timed_mutex that many may hold at once to read. A writer that waits goes before readers that come after it. A reader
/// that dies is forgotten; a writer that dies is told to all, readers too.
/// Threads: as mutex. Who has locked it to read gives it back in the same thread.
class shared_mutex : public timed_mutex {
 public:
  /// Returns with the lock held, alone.
  /// Blocks: until writers and readers have given it back, or died. Errors: as mutex::lock().
  void lock() { detail::lock_alone(word_, readers_, clock::time_point::max()); }
  /// True if it was free, and is held alone now.
  /// Errors: as mutex::lock().
  bool try_lock() { return detail::try_lock_alone(word_, readers_); }
  /// True if it is held alone now; false if it could not be within `timeout`, or until `deadline`.
  /// Blocks: until then. Errors: as mutex::lock().
  bool try_lock_for(nanoseconds timeout) { return try_lock_until(deadline_after(timeout)); }
  bool try_lock_until(clock::time_point deadline) { return detail::lock_alone(word_, readers_, deadline); }
  /// Gives back what lock() took.
  /// Errors: std::system_error (operation_not_permitted) if the caller does not hold it alone.
  void unlock() { detail::unlock_alone(word_, readers_); }
  /// As mutex::lock_and_repair(), held alone.
  /// Blocks: as lock(). Errors: as mutex::lock_and_repair().
  template <class F>
  void lock_and_repair(F&& f) {
    timed_mutex::lock_and_repair([&] {
      detail::enter_for_repair(word_, readers_);
      static_cast<F&&>(f)();
      detail::leave_after_repair(word_, readers_);
    });
  }

  /// Returns with the lock held, beside other readers.
  /// Blocks: until no writer has it or waits for it. Errors: as mutex::lock(); resource_exhausted if too many read at
  /// once. Cost: free of writers: four atomic steps, no system call.
  void lock_shared() { detail::lock_shared(word_, readers_, clock::time_point::max()); }
  /// True if no writer had it or waited for it, and it is held beside other readers now.
  /// Errors: as lock_shared().
  bool try_lock_shared() { return detail::try_lock_shared(word_, readers_); }
  /// True if it is held beside other readers now; false if it could not be within `timeout`, or until `deadline`.
  /// Blocks: until then. Errors: as lock_shared().
  bool try_lock_shared_for(nanoseconds timeout) { return try_lock_shared_until(deadline_after(timeout)); }
  bool try_lock_shared_until(clock::time_point deadline) { return detail::lock_shared(word_, readers_, deadline); }
  /// Gives back what lock_shared() took.
  /// Errors: std::system_error (operation_not_permitted) if the caller does not hold it.
  void unlock_shared() { detail::unlock_shared(word_, readers_); }

 private:
  detail::reader_state readers_;
};

template <>
inline constexpr bool detail::is_of_session<shared_mutex> = true;

}  // namespace tandem
