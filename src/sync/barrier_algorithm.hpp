#pragma once
// A barrier in one word of 64 bits. Lower half, which waiters sleep on: whether it is broken, how many phases were ended by
// reset(), how many were passed. Upper half: how many parties are missing, and how many there are. Each change is one
// step, so a death leaves it as it was before or after; but the dead one will never arrive again, which is known from its
// claim, made before it first arrived.
//
// Who waits has passed if the number of passed phases has moved, whatever else has: as long as it waits no further one
// can be passed, since it is missing there.
#include <cstdint>

#include "sync/share_algorithm.hpp"

namespace tandem::sync {

constexpr std::uint32_t barrier_broken = 1;
constexpr std::uint32_t one_reset = 1U << 1;
constexpr std::uint32_t one_pass = 1U << 12;
constexpr std::uint32_t resets_mask = one_pass - one_reset;
constexpr std::uint32_t passes_mask = ~(one_pass - 1);
constexpr std::uint32_t party_bits = 16;
constexpr std::uint32_t party_mask = (1U << party_bits) - 1;

constexpr std::uint32_t missing_in(std::uint64_t word) noexcept { return upper(word) & party_mask; }
constexpr std::uint32_t parties_in(std::uint64_t word) noexcept { return upper(word) >> party_bits; }
constexpr std::uint64_t barrier_word(std::uint32_t parties, std::uint32_t missing, std::uint32_t low) noexcept {
  return both((parties << party_bits) | missing, low);
}
constexpr std::uint32_t after_pass(std::uint64_t word) noexcept { return lower(word) + one_pass; }
constexpr std::uint32_t after_reset(std::uint64_t word) noexcept {
  return (lower(word) & passes_mask) | ((lower(word) + one_reset) & resets_mask);
}

/// The barrier is broken if one of its parties was killed.
template <class Env>
void break_for_the_dead(typename Env::wide& w, std::uint64_t object) noexcept {
  const std::uint32_t used = Env::claims_used();
  for (std::uint32_t i = 1; i < used; ++i) {
    auto& c = Env::claim_at(i);
    if (c.object.load(std::memory_order_acquire) != object) continue;
    std::uint32_t owner = c.owner.load(std::memory_order_acquire);
    if (owner == 0 || Env::alive(owner) || step_of(c.state.load(std::memory_order_acquire)) != claim_step::attached)
      continue;
    std::uint64_t seen = w.load(std::memory_order_acquire);
    // Its claim still stands after the word was loaded: no reset() has come between.
    while (Env::killed(owner) && (lower(seen) & barrier_broken) == 0 &&
           c.owner.load(std::memory_order_acquire) == owner) {
      if (!w.compare_exchange_strong(seen, seen | barrier_broken, std::memory_order_acq_rel)) continue;
      Env::step("barrier.broken");
      Env::wake(w, all_waiters);
      break;
    }
    c.owner.compare_exchange_strong(owner, 0, std::memory_order_acq_rel);
  }
}

enum class barrier_end { passed, broken };

/// Waits for the end of the phase in which `seen` was.
template <class Env>
barrier_end await_phase(typename Env::wide& w, std::uint64_t object, std::uint64_t seen) noexcept {
  const std::uint32_t phase = lower(seen);
  unsigned turns = Env::spin_turns();
  for (;;) {
    const std::uint32_t epoch = Env::epoch();
    if (turns == 0) break_for_the_dead<Env>(w, object);
    seen = w.load(std::memory_order_acquire);
    const std::uint32_t moved = lower(seen) ^ phase;
    if ((moved & passes_mask) != 0) return barrier_end::passed;
    if ((moved & resets_mask) != 0) return barrier_end::broken;
    if ((lower(seen) & barrier_broken) != 0) return barrier_end::broken;
    if (turns > 0) {
      --turns;
      Env::spin();
      continue;
    }
    Env::wait(w, lower(seen), epoch, clock::time_point::max());
    Env::step("barrier.woken");
  }
}

/// The caller has a claim on it. `leaving`: it is no party from the next phase on, and does not wait.
enum class arrival { stays, leaves };
template <class Env>
barrier_end arrive(typename Env::wide& w, std::uint64_t object, arrival how) noexcept {
  std::uint64_t seen = w.load(std::memory_order_acquire);
  for (;;) {
    if ((lower(seen) & barrier_broken) != 0) return barrier_end::broken;
    const std::uint32_t parties = parties_in(seen) - (how == arrival::leaves && parties_in(seen) > 0 ? 1 : 0);
    if (missing_in(seen) <= 1) {
      if (!w.compare_exchange_strong(seen, barrier_word(parties, parties, after_pass(seen)), std::memory_order_acq_rel))
        continue;
      Env::step("barrier.passed");
      Env::wake(w, all_waiters);
      return barrier_end::passed;
    }
    if (!w.compare_exchange_strong(seen, barrier_word(parties, missing_in(seen) - 1, lower(seen)),
                                   std::memory_order_acq_rel)) {
      continue;
    }
    Env::step("barrier.arrived");
    return how == arrival::leaves ? barrier_end::passed : await_phase<Env>(w, object, seen);
  }
}

/// Ends the phase for those who wait, as broken, and begins a good one.
template <class Env>
void reset_barrier(typename Env::wide& w, std::uint64_t object) noexcept {
  break_for_the_dead<Env>(w, object);  // those are forgotten now
  std::uint64_t seen = w.load(std::memory_order_acquire);
  while (!w.compare_exchange_strong(seen, barrier_word(parties_in(seen), parties_in(seen), after_reset(seen)),
                                    std::memory_order_acq_rel)) {
  }
  Env::step("barrier.reset");
  Env::wake(w, all_waiters);
}

}  // namespace tandem::sync
