#pragma once
// What the algorithms run on: atomics, the kernel's futexes, the session page. A test runs them on something else, where
// every order of steps is tried (tests/sync/explore.hpp).
#include <atomic>
#include <cstdint>

#include "os/kernel.hpp"
#include "sync/death_point.hpp"
#include "sync/session.hpp"

namespace tandem::sync {

struct environment {
  using word = std::atomic<std::uint32_t>;

  /// The id of the caller.
  static std::uint32_t me() {
    const std::uint32_t id = detail::this_thread.id;
    return id != 0 ? id : enroll();
  }
  static bool alive(std::uint32_t id) noexcept { return is_live(id); }
  /// Moves whenever a participant dies. Read before it is looked whether one has; a wait ends when it has moved.
  static std::uint32_t epoch() noexcept { return own_epoch().load(std::memory_order_seq_cst); }
  static bool wait(word& w, std::uint32_t expected, std::uint32_t epoch, clock::time_point deadline) noexcept {
    return os::futex_wait_both(w, expected, own_epoch(), epoch, deadline);
  }
  static int wake(word& w, int most) noexcept { return os::futex_wake(w, most); }
  static unsigned spin_turns() noexcept { return sync::spin_turns(); }
  static void spin() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
  static void step(const char* name) noexcept { death_point(name); }
};

constexpr int all_waiters = 0x7FFF'FFFF;

}  // namespace tandem::sync
