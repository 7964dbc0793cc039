#include <tandem/latch.hpp>

#include <stdexcept>
#include <string>

#include <tandem/error.hpp>

#include "sync/environment.hpp"
#include "sync/memory_claims.hpp"

namespace tandem::detail {

namespace {
using env = sync::environment;
constexpr std::uint32_t waiting = 1U << 31;
constexpr std::uint32_t broken = 1U << 30;
constexpr std::uint32_t count_mask = latch_count;

bool is_open(const latch_state& l) noexcept { return (l.word.load(std::memory_order_acquire) & count_mask) == 0; }

// Breaks the latch if one that owed a count was killed.
void look_for_debts(latch_state& l, std::uint64_t memory) {
  if (memory == 0) return;
  const std::uint32_t deaths = env::deaths();
  if (l.seen_deaths.load(std::memory_order_relaxed) == deaths) return;
  if (sync::debtor_was_killed(memory, sync::number_of(l.number))) {
    l.word.fetch_or(broken, std::memory_order_acq_rel);
    env::step("latch.broken");
    env::wake(l.word, sync::all_waiters);
  }
  l.seen_deaths.store(deaths, std::memory_order_relaxed);
}

void pay_for(latch_state& l, std::uint64_t memory) {
  if (memory != 0) sync::pay(&l, sync::number_of(l.number));
}
}  // namespace

std::uint32_t latch_of(std::ptrdiff_t count) {
  if (count < 0 || count > latch::max()) {
    throw std::invalid_argument("tandem: a latch of " + std::to_string(count) + ": it may be 0 to " +
                                std::to_string(latch::max()));
  }
  return static_cast<std::uint32_t>(count);
}

void count_down(latch_state& l, std::ptrdiff_t by) {
  lock_word& word = l.word;
  std::uint32_t seen = word.load(std::memory_order_relaxed);
  std::uint32_t after = 0;
  do {
    const std::uint32_t left = seen & count_mask;
    if (by < 0 || by > static_cast<std::ptrdiff_t>(left)) {
      throw std::invalid_argument("tandem: a latch counted down by " + std::to_string(by) + " of " +
                                  std::to_string(left));
    }
    after = left - static_cast<std::uint32_t>(by);
    if (after != 0) after |= seen & (waiting | broken);
    // The release pairs with the acquire of those who wait.
  } while (!word.compare_exchange_weak(seen, after, std::memory_order_acq_rel, std::memory_order_relaxed));
  env::step("latch.counted");
  if (after == 0 && (seen & waiting) != 0) env::wake(word, sync::all_waiters);
  // Afterwards: one that is killed between the two seems to owe what it has counted, which nobody waits for in vain.
  if (after != 0) pay_for(l, sync::memory_number_at(&l));
}

void await_latch(latch_state& l) {
  env::me();
  for (unsigned turns = env::spin_turns(); turns > 0; --turns) {
    if (is_open(l)) return;
    env::spin();
  }
  const std::uint64_t memory = sync::memory_number_at(&l);
  pay_for(l, memory);
  for (;;) {
    const std::uint32_t epoch = env::epoch();
    look_for_debts(l, memory);
    std::uint32_t seen = l.word.load(std::memory_order_acquire);
    if ((seen & count_mask) == 0) return;
    if ((seen & broken) != 0)
      throw broken_barrier("tandem: a process was killed that owed this latch a count, so it may never be open");
    if ((seen & waiting) == 0) {
      if (!l.word.compare_exchange_strong(seen, seen | waiting, std::memory_order_relaxed)) continue;
      seen |= waiting;
      env::step("latch.waiting");
    }
    env::wait(l.word, seen, epoch, os::never);
    env::step("latch.woken");
  }
}

}  // namespace tandem::detail
