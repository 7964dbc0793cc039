#pragma once
// A barrier in one word of 64 bits. Lower half, which waiters sleep on: whether it is broken, how many phases have ended,
// and how the last of them did. Upper half: how many parties are missing, and how many there are. Each change is one step,
// so a death leaves it as it was before or after; but the dead one will never arrive again, which is known from its claim,
// made before it first arrived.
//
// A phase ends when it is passed, or by reset(). Who waits may be slow: others may have ended many phases before it looks
// again, and it must know how its own did. So the word says how many resets came last, and how many phases in a row were
// passed before them. Both stop at their largest value. If one has more behind it than they tell, it takes its phase for
// passed, unless so many resets came meanwhile; that many phases need parties beyond those that the barrier is made for.
#include <cstdint>

#include "sync/share_algorithm.hpp"

namespace tandem::sync {

constexpr std::uint32_t barrier_broken = 1;
constexpr std::uint32_t reset_shift = 1;
constexpr std::uint32_t most_resets = (1U << 3) - 1;
constexpr std::uint32_t pass_shift = 4;
constexpr std::uint32_t most_passes = (1U << 6) - 1;
constexpr std::uint32_t phase_shift = 10;
constexpr std::uint32_t one_phase = 1U << phase_shift;
constexpr std::uint32_t most_phases = (1U << (32 - phase_shift)) - 1;
constexpr std::uint32_t party_bits = 16;
constexpr std::uint32_t party_mask = (1U << party_bits) - 1;

constexpr std::uint32_t missing_in(std::uint64_t word) noexcept { return upper(word) & party_mask; }
constexpr std::uint32_t parties_in(std::uint64_t word) noexcept { return upper(word) >> party_bits; }
constexpr std::uint64_t barrier_word(std::uint32_t parties, std::uint32_t missing, std::uint32_t low) noexcept {
  return both((parties << party_bits) | missing, low);
}
constexpr std::uint32_t resets_in(std::uint32_t low) noexcept { return (low >> reset_shift) & most_resets; }
constexpr std::uint32_t passes_in(std::uint32_t low) noexcept { return (low >> pass_shift) & most_passes; }
/// The lower half when the phase has ended: good, and how many resets came last, and passes before them.
constexpr std::uint32_t next_phase(std::uint32_t low, std::uint32_t passes, std::uint32_t resets) noexcept {
  const std::uint32_t phase = (low & ~(one_phase - 1)) + one_phase;
  return phase | (passes << pass_shift) | (resets << reset_shift);
}
constexpr std::uint32_t after_pass(std::uint64_t word) noexcept {
  const std::uint32_t low = lower(word), passes = passes_in(low);
  if (resets_in(low) != 0) return next_phase(low, 1, 0);
  return next_phase(low, passes < most_passes ? passes + 1 : most_passes, 0);
}
constexpr std::uint32_t after_reset(std::uint64_t word) noexcept {
  const std::uint32_t low = lower(word), resets = resets_in(low);
  return next_phase(low, passes_in(low), resets < most_resets ? resets + 1 : most_resets);
}
constexpr bool same_phase(std::uint32_t low, std::uint32_t other) noexcept { return (low ^ other) < one_phase; }
/// Whether the phase that `then` tells of, which is over, was passed.
constexpr bool was_passed(std::uint32_t now, std::uint32_t then) noexcept {
  const std::uint32_t ended_since = ((now >> phase_shift) - (then >> phase_shift) - 1) & most_phases;  // after its own
  const std::uint32_t resets = resets_in(now), passes = passes_in(now);
  if (resets == most_resets || ended_since < resets) return false;
  return ended_since - resets < passes || passes == most_passes;
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
    if (!same_phase(lower(seen), phase))
      return was_passed(lower(seen), phase) ? barrier_end::passed : barrier_end::broken;
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
