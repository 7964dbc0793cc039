#pragma once
// Waiting, under a lock, for what another thread or process changes under it.
#include <condition_variable>
#include <stop_token>

#include <tandem/detail/sync_word.hpp>

namespace tandem {

namespace detail {

struct notification_ticket {
  std::uint32_t number;
  std::uint32_t epoch;
};
TANDEM_EXPORT notification_ticket take_notification_ticket(lock_word&);
TANDEM_EXPORT bool await_notification(lock_word&, notification_ticket, clock::time_point deadline) noexcept;
TANDEM_EXPORT void notify_one_waiter(lock_word&) noexcept;
TANDEM_EXPORT void notify_all_waiters(lock_word&) noexcept;

/// Gives a lock back, and takes it again on every way out.
template <class L>
class unlocked {
 public:
  explicit unlocked(L& lock) : lock_(lock) { lock_.unlock(); }
  unlocked(const unlocked&) = delete;
  unlocked& operator=(const unlocked&) = delete;
  ~unlocked() noexcept(false) { lock_.lock(); }

 private:
  L& lock_;
};

}  // namespace detail

/// A condition of memory that threads or processes share. It works with any lock that they share, as
/// std::condition_variable_any does: std::unique_lock<tandem::mutex>, or the mutex itself. A wait may return without
/// reason, and does when any participant dies: use the forms with a predicate. A waiter or a notifier that dies harms
/// nobody.
/// Threads: any, of any process of the session, at once. Fork: as mutex.
class condition_variable {
 public:
  condition_variable() noexcept = default;
  condition_variable(const condition_variable&) = delete;
  condition_variable& operator=(const condition_variable&) = delete;

  /// Wakes one of those who wait; if nobody does, nothing is remembered.
  /// Cost: with nobody waiting, one load; else a system call.
  void notify_one() noexcept { detail::notify_one_waiter(word_); }
  /// Wakes all who wait.
  /// Cost: as notify_one().
  void notify_all() noexcept { detail::notify_all_waiters(word_); }

  /// Gives the lock back, waits to be notified, and takes it again.
  /// Blocks: until notified, or for no reason; then until the lock is free. Errors: owner_died if the lock cannot be
  /// taken again: it is not held then; as mutex::lock() the first time in a thread.
  template <class L>
  void wait(L& lock) {
    wait_once(lock, clock::time_point::max());
  }
  /// Waits until `p()`, which is called under the lock, is true.
  /// Blocks: until then. Errors: as wait(); what `p` throws.
  template <class L, class P>
  void wait(L& lock, P p) {
    while (!p()) wait_once(lock, clock::time_point::max());
  }
  /// Waits until `p()` is true or a stop is requested; gives the last `p()`.
  /// Blocks: until then. Stop: ends the wait. Errors: as wait(); what `p` throws; std::bad_alloc.
  template <class L, class P>
  bool wait(L& lock, std::stop_token stop, P p) {
    return wait_until(lock, std::move(stop), clock::time_point::max(), std::move(p));
  }
  /// As wait(), but for no longer than `timeout`, or until `deadline`. The forms with a predicate give the last `p()`.
  /// Blocks: until then; then until the lock is free. Errors: as wait(); what `p` throws.
  template <class L>
  std::cv_status wait_for(L& lock, nanoseconds timeout) {
    return wait_once(lock, deadline_after(timeout));
  }
  template <class L, class P>
  bool wait_for(L& lock, nanoseconds timeout, P p) {
    return wait_until(lock, deadline_after(timeout), std::move(p));
  }
  template <class L, class P>
  bool wait_for(L& lock, std::stop_token stop, nanoseconds timeout, P p) {
    return wait_until(lock, std::move(stop), deadline_after(timeout), std::move(p));
  }
  template <class L>
  std::cv_status wait_until(L& lock, clock::time_point deadline) {
    return wait_once(lock, deadline);
  }
  template <class L, class P>
  bool wait_until(L& lock, clock::time_point deadline, P p) {
    while (!p()) {
      if (wait_once(lock, deadline) == std::cv_status::timeout) return p();
    }
    return true;
  }
  /// The same; also a request to stop ends the wait.
  /// Blocks: until then. Stop: ends the wait. Errors: as wait(); what `p` throws; std::bad_alloc.
  template <class L, class P>
  bool wait_until(L& lock, std::stop_token stop, clock::time_point deadline, P p) {
    const std::stop_callback told(stop, [this]() noexcept { notify_all(); });
    while (!p()) {
      // The ticket first: a stop from here on changes the word, and the wait ends at once.
      const detail::notification_ticket ticket = detail::take_notification_ticket(word_);
      if (stop.stop_requested()) return p();
      if (!sleep(lock, ticket, deadline)) return p();
    }
    return true;
  }

 private:
  template <class L>
  std::cv_status wait_once(L& lock, clock::time_point deadline) {
    const detail::notification_ticket ticket = detail::take_notification_ticket(word_);
    return sleep(lock, ticket, deadline) ? std::cv_status::no_timeout : std::cv_status::timeout;
  }
  template <class L>
  bool sleep(L& lock, detail::notification_ticket ticket, clock::time_point deadline) {
    const detail::unlocked<L> without(lock);
    return detail::await_notification(word_, ticket, deadline);
  }

  detail::lock_word word_{0};
};

template <>
inline constexpr bool detail::is_of_session<condition_variable> = true;

}  // namespace tandem
