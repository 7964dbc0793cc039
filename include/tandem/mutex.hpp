#pragma once
// Locks with one owner, for threads and processes alike. They name their owner, so its death is told to the others.
#include <tandem/detail/sync_word.hpp>

namespace tandem {

namespace detail {
struct mutex_access;
}  // namespace detail

/// A lock with one owner at a time, which is a thread, of this process or another. In ordinary memory it is shared by
/// threads, in memory shared with other processes by all threads of all of them. An owner that dies, or ends, while it
/// holds the lock is told to everybody else. Lock it before its members are changed by nobody else: std::lock_guard,
/// std::unique_lock and std::scoped_lock work.
/// Threads: any, of any process of the session, at once. Fork: a copy of the program (fork_options) is another thread
/// and holds nothing; in a child made by fork() of a program with workers, locks throw not_initialised.
class mutex {
 public:
  mutex() noexcept = default;
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;

  /// Returns with the lock held.
  /// Blocks: until its owner gives it back, or dies. Errors: owner_died, unheld, from the death of an owner until
  /// lock_and_repair(); std::system_error (resource_deadlock_would_occur) if the caller has it; the first time in a
  /// thread: resource_exhausted, not_initialised. Cost: free: one atomic step, no system call.
  void lock() {
    if (!detail::take_free(word_)) detail::lock(word_);
  }
  /// True if it was free, and is held now.
  /// Errors: as lock(), but false if the caller has it. Cost: as lock().
  bool try_lock() { return detail::take_free(word_) || detail::try_lock(word_); }
  /// Gives it back.
  /// Errors: std::system_error (operation_not_permitted) if the caller does not hold it, or no longer, since another
  /// process wrote over the word: the destructor of std::lock_guard ends the program then. Where such a process has the
  /// memory, shared<T>::with() holds the lock instead. Cost: one atomic step; a system call if somebody waits.
  void unlock() {
    if (!detail::give_back(word_)) detail::unlock(word_);
  }
  /// Runs `f()` under the lock, and makes the lock good again if its owner had died. If `f` throws, or this thread dies
  /// in it, the lock is as it was after a death.
  /// Blocks: until its owner gives it back, or dies. Errors: what `f` throws; std::system_error
  /// (resource_deadlock_would_occur) if the caller has it.
  template <class F>
  void lock_and_repair(F&& f) {
    detail::repair(word_, static_cast<F&&>(f));
  }

 protected:
  friend struct detail::mutex_access;
  detail::lock_word word_{0};  // NOLINT: of the locks that are made from this one
};

namespace detail {
struct mutex_access {
  /// At the end of a scope that holds it: whatever a peer has done to the word is no reason to end the program.
  static void end_scope(mutex& m) noexcept {
    if (!give_back(m.word_)) detail::end_scope(m.word_);
  }
};
}  // namespace detail

/// A mutex for which one can wait for a limited time.
/// Threads: as mutex.
class timed_mutex : public mutex {
 public:
  /// True if it is held now; false if it was not free within `timeout`, or until `deadline`.
  /// Blocks: until then. Errors: as lock(). Cost: as lock().
  bool try_lock_for(nanoseconds timeout) { return detail::take_free(word_) || try_lock_until(deadline_after(timeout)); }
  bool try_lock_until(clock::time_point deadline) {
    return detail::take_free(word_) || detail::lock_until(word_, deadline);
  }
};

/// A timed_mutex that its owner may lock again, and gives back as many times.
/// Threads: as mutex.
class recursive_mutex : public timed_mutex {
 public:
  /// Returns with the lock held, once more if the caller holds it.
  /// Blocks: until another owner gives it back, or dies. Errors: as mutex::lock(), but never for the caller's own.
  void lock() {
    if (!lock_again()) timed_mutex::lock();
  }
  /// True if it was free, or the caller's: it is held now, once more.
  /// Errors: as lock().
  bool try_lock() { return lock_again() || timed_mutex::try_lock(); }
  /// True if it is held now, once more; false if another held it within `timeout`, or until `deadline`.
  /// Blocks: until then. Errors: as lock().
  bool try_lock_for(nanoseconds timeout) { return lock_again() || timed_mutex::try_lock_for(timeout); }
  bool try_lock_until(clock::time_point deadline) { return lock_again() || timed_mutex::try_lock_until(deadline); }
  /// Gives back one of the caller's locks of it; with the last one, it is free.
  /// Errors: std::system_error (operation_not_permitted) if the caller does not hold it.
  void unlock() {
    if (again_ != 0 && detail::is_mine(word_)) {
      --again_;
    } else {
      timed_mutex::unlock();
    }
  }
  /// As mutex::lock_and_repair(); within `f` the lock can be locked again.
  /// Blocks: as that. Errors: as that.
  template <class F>
  void lock_and_repair(F&& f) {
    timed_mutex::lock_and_repair([&] {
      again_ = 0;  // of an owner that died
      static_cast<F&&>(f)();
    });
  }

 private:
  bool lock_again() noexcept {
    if (!detail::is_mine(word_)) return false;
    ++again_;
    return true;
  }

  std::uint32_t again_ = 0;  // how often its owner has locked it beyond the first time; only its owner looks
};

template <>
inline constexpr bool detail::is_of_session<mutex> = true;
template <>
inline constexpr bool detail::is_of_session<timed_mutex> = true;
template <>
inline constexpr bool detail::is_of_session<recursive_mutex> = true;

}  // namespace tandem
