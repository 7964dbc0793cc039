#pragma once
// What the algorithms run on: atomics, the kernel's futexes, the session page. A test runs them on something else, where
// every order of steps is tried (tests/sync/explore.hpp).
#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>

#include "os/kernel.hpp"
#include "sync/claims.hpp"
#include "sync/death_point.hpp"
#include "sync/epoch_algorithm.hpp"
#include "sync/session.hpp"
#include "sync/table.hpp"

namespace tandem::sync {

/// How long the calling thread spins before it sleeps: less after spins that were in vain, since whom it waits for may
/// share its CPU; more after others.
struct spin_credit {
  unsigned turns;  // of the next wait
  unsigned spun;   // in this one
  bool begun;
  bool slept;
};
extern constinit thread_local spin_credit spinning;

struct environment {
  using word = std::atomic<std::uint32_t>;
  using wide = std::atomic<std::uint64_t>;

  /// The id of the caller.
  static std::uint32_t me() {
    const std::uint32_t id = detail::this_thread.id;
    return id != 0 ? id : enroll();
  }
  static bool alive(std::uint32_t id) noexcept { return is_live(id); }
  /// Moves whenever a participant dies. Read before it is looked whether one has; a wait ends when it has moved.
  static std::uint32_t epoch() noexcept { return read_epoch(own_epoch()); }
  static bool wait(word& w, std::uint32_t expected, std::uint32_t epoch, clock::time_point deadline) noexcept {
    if (!spinning.slept) {
      spinning.slept = true;
      spinning.turns /= 2;
    }
    word& deaths = own_epoch();
    return !watch_epoch(deaths, epoch) || os::futex_wait_both(w, expected, deaths, epoch | epoch_watched, deadline);
  }
  static int wake(word& w, int most) noexcept { return os::futex_wake(w, most); }
  /// The same for the lower half of a word.
  static bool wait(wide& w, std::uint32_t expected, std::uint32_t epoch, clock::time_point deadline) noexcept {
    return wait(lower_half(w), expected, epoch, deadline);
  }
  static int wake(wide& w, int most) noexcept { return wake(lower_half(w), most); }

  static bool killed(std::uint32_t id) noexcept { return was_killed(id); }
  using claim_entry = claim;
  static claim_entry& claim_at(std::uint32_t index) noexcept { return session_if_made()->claims[index % claim_count]; }
  static std::uint32_t claims_used() noexcept { return used_of(session_if_made()->claim_marks, claim_count); }
  static void free_claim(std::uint32_t index) noexcept { sync::free_claim(index); }
  static std::uint32_t deaths() noexcept { return session_if_made()->deaths.load(std::memory_order_seq_cst); }
  static unsigned spin_turns() noexcept {
    const unsigned most = sync::spin_turns();
    spin_credit& own = spinning;
    if (!own.begun || (own.spun > 0 && !own.slept)) own.turns = own.begun ? 2 * own.turns : most;
    constexpr unsigned least = 4;  // so that it is found out when things change
    own = {std::min(std::max(own.turns, least), most), 0, true, false};
    return own.turns;
  }
  static void spin() noexcept {
    ++spinning.spun;
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
  static void step(const char* name) noexcept { death_point(name); }

 private:
  static word& lower_half(wide& w) noexcept {
    static_assert(std::endian::native == std::endian::little);
    // SAFETY: only the kernel looks at it, which compares four aligned bytes.
    return reinterpret_cast<word&>(w);
  }
};

constexpr int all_waiters = 0x7FFF'FFFF;

}  // namespace tandem::sync
