#pragma once
// What the locks share: who the calling thread is, and what is done when a lock is not simply free.
#include <atomic>
#include <cstdint>

#include <tandem/deadline.hpp>
#include <tandem/detail/base_enable_shared.hpp>
#include <tandem/detail/export.hpp>

namespace tandem::detail {

/// Who the calling thread is, to the locks of all processes of the session.
struct lock_identity {
  std::uint32_t id;    // what it writes into the words of locks; 0: it has not been enrolled yet
  std::uint32_t held;  // how many locks it holds
};
// Initial-exec: one load from the thread's own block, in a shared library too.
extern TANDEM_EXPORT constinit thread_local lock_identity this_thread __attribute__((tls_model("initial-exec")));

using lock_word = std::atomic<std::uint32_t>;
static_assert(lock_word::is_always_lock_free, "it is seen by several processes");

/// A free lock, by an enrolled thread. The acquire pairs with the release of whoever gave it back.
inline bool take_free(lock_word& word) noexcept {
  lock_identity& self = this_thread;
  std::uint32_t expected = 0;
  if (self.id == 0 ||
      !word.compare_exchange_strong(expected, self.id, std::memory_order_acquire, std::memory_order_relaxed)) {
    return false;
  }
  ++self.held;
  return true;
}

/// One that the caller holds and nobody waits for.
inline bool give_back(lock_word& word) noexcept {
  lock_identity& self = this_thread;
  std::uint32_t expected = self.id;
  if (expected == 0 ||
      !word.compare_exchange_strong(expected, 0, std::memory_order_release, std::memory_order_relaxed)) {
    return false;
  }
  --self.held;
  return true;
}

inline constexpr std::uint32_t lock_owner_mask = 0x3FFF'FFFF;
inline bool is_mine(const lock_word& word) noexcept {
  const std::uint32_t mine = this_thread.id;
  return mine != 0 && (word.load(std::memory_order_relaxed) & lock_owner_mask) == mine;
}

TANDEM_EXPORT void lock(lock_word&);
TANDEM_EXPORT bool try_lock(lock_word&);
TANDEM_EXPORT bool lock_until(lock_word&, clock::time_point deadline);
TANDEM_EXPORT void unlock(lock_word&);
TANDEM_EXPORT void unlock_for_all(lock_word&);  // whoever waits tries again
TANDEM_EXPORT void end_scope(
    lock_word&) noexcept;  // as unlock(); a word that is not the caller's any more is left alone
TANDEM_EXPORT void lock_for_repair(lock_word&);
TANDEM_EXPORT void end_repair(lock_word&) noexcept;
TANDEM_EXPORT void give_up_repair(lock_word&) noexcept;  // as if its owner had died
[[noreturn]] TANDEM_EXPORT void throw_not_owner();
[[noreturn]] TANDEM_EXPORT void throw_owner_died();

/// Runs `f` under a lock whose owner may have died. If it throws, the lock is as after a death.
template <class F>
void repair(lock_word& word, F&& f) {
  lock_for_repair(word);
  struct unless_done {
    lock_word* word;
    ~unless_done() {
      if (word != nullptr) give_up_repair(*word);
    }
  } guard{&word};
  static_cast<F&&>(f)();
  guard.word = nullptr;
  end_repair(word);
}

}  // namespace tandem::detail
