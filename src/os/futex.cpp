#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <ctime>

#include "os/faults.hpp"
#include "os/kernel.hpp"

namespace tandem::os {

static_assert(sizeof(std::atomic<std::uint32_t>) == 4 && std::atomic<std::uint32_t>::is_always_lock_free,
              "a futex word is the atomic itself");

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

namespace {

// steady_clock is CLOCK_MONOTONIC, which both calls take as an absolute time.
timespec absolute(clock::time_point deadline) noexcept {
  const auto since = std::max(nanoseconds::zero(), nanoseconds(deadline.time_since_epoch())).count();
  return {static_cast<time_t>(since / 1'000'000'000), static_cast<long>(since % 1'000'000'000)};
}

// The kernel's struct futex_waitv; headers older than 5.16 do not have it.
struct watched_word {
  std::uint64_t value;
  std::uint64_t address;
  std::uint32_t flags;
  std::uint32_t reserved;
};
constexpr std::uint32_t of_four_bytes = 2;  // FUTEX_32

std::atomic<bool> waits_for_several{true};  // until the kernel says otherwise

// How long a death can go unseen where one wait cannot watch two words.
constexpr nanoseconds unwatched = std::chrono::milliseconds(50);

}  // namespace

bool futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, clock::time_point deadline) noexcept {
  timespec until{};
  if (deadline != never) until = absolute(deadline);
  const long result = ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, expected, deadline != never ? &until : nullptr,
                                nullptr, FUTEX_BITSET_MATCH_ANY);
  return result == 0 || errno != ETIMEDOUT;
}

bool futex_wait_both(std::atomic<std::uint32_t>& word, std::uint32_t expected, std::atomic<std::uint32_t>& second,
                     std::uint32_t second_expected, clock::time_point deadline) noexcept {
  if (waits_for_several.load(std::memory_order_relaxed)) {
    const watched_word both[] = {{expected, reinterpret_cast<std::uintptr_t>(&word), of_four_bytes, 0},
                                 {second_expected, reinterpret_cast<std::uintptr_t>(&second), of_four_bytes, 0}};
    timespec until{};
    if (deadline != never) until = absolute(deadline);
    const int error = injected();
    if (error == 0) {
      if (::syscall(SYS_futex_waitv, both, 2, 0, deadline != never ? &until : nullptr, CLOCK_MONOTONIC) >= 0)
        return true;
      if (errno != ENOSYS && errno != EPERM) return errno != ETIMEDOUT;
      waits_for_several.store(false, std::memory_order_relaxed);
    } else if (error != ENOSYS && error != EPERM) {
      return true;  // early
    }
  }
  if (second.load(std::memory_order_acquire) != second_expected) return true;
  const clock::time_point look_again = deadline_after(unwatched);
  if (look_again < deadline) {
    futex_wait(word, expected, look_again);
    return true;
  }
  return futex_wait(word, expected, deadline);
}

int futex_wake(std::atomic<std::uint32_t>& word, int most) noexcept {
  return static_cast<int>(std::max(0L, ::syscall(SYS_futex, &word, FUTEX_WAKE, most, nullptr, nullptr, 0)));
}

void futex_wake_all(std::atomic<std::uint32_t>& word) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace tandem::os
