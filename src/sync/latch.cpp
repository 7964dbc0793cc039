#include <tandem/latch.hpp>

#include <stdexcept>
#include <string>

#include "sync/environment.hpp"

namespace tandem::detail {

namespace {
using env = sync::environment;
constexpr std::uint32_t waiting = 1U << 31;
constexpr std::uint32_t count_mask = (1U << 30) - 1;
}  // namespace

std::uint32_t latch_of(std::ptrdiff_t count) {
  if (count < 0 || count > latch::max()) {
    throw std::invalid_argument("tandem: a latch of " + std::to_string(count) + ": it may be 0 to " +
                                std::to_string(latch::max()));
  }
  return static_cast<std::uint32_t>(count);
}

void count_down(lock_word& word, std::ptrdiff_t by) {
  std::uint32_t seen = word.load(std::memory_order_relaxed);
  std::uint32_t after = 0;
  do {
    const std::uint32_t left = seen & count_mask;
    if (by < 0 || by > static_cast<std::ptrdiff_t>(left)) {
      throw std::invalid_argument("tandem: a latch counted down by " + std::to_string(by) + " of " +
                                  std::to_string(left));
    }
    after = left - static_cast<std::uint32_t>(by);
    if (after != 0) after |= seen & waiting;
    // The release pairs with the acquire of those who wait.
  } while (!word.compare_exchange_weak(seen, after, std::memory_order_acq_rel, std::memory_order_relaxed));
  env::step("latch.counted");
  if (after == 0 && (seen & waiting) != 0) env::wake(word, sync::all_waiters);
}

bool latch_open(const lock_word& word) noexcept { return (word.load(std::memory_order_acquire) & count_mask) == 0; }

void await_latch(lock_word& word) {
  env::me();
  for (unsigned turns = env::spin_turns(); turns > 0; --turns) {
    if (latch_open(word)) return;
    env::spin();
  }
  while (!latch_open(word)) {
    const std::uint32_t epoch = env::epoch();
    std::uint32_t seen = word.load(std::memory_order_acquire);
    if ((seen & count_mask) == 0) return;
    if ((seen & waiting) == 0) {
      if (!word.compare_exchange_strong(seen, seen | waiting, std::memory_order_relaxed)) continue;
      seen |= waiting;
      env::step("latch.waiting");
    }
    env::wait(word, seen, epoch, os::never);
    env::step("latch.woken");
  }
}

}  // namespace tandem::detail
