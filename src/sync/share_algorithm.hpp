#pragma once
// Numbers of which participants hold shares, in one word of 64 bits: the number and a bit for those who wait in the lower
// half, which is what waiters sleep on; in the upper half the claim that changed it last (claims.hpp).
#include <cstdint>

#include "sync/claims.hpp"
#include "sync/environment.hpp"

namespace tandem::sync {

constexpr std::uint32_t share_waiting = 1U << 31;
constexpr std::uint32_t share_mark = 1U << 30;  // of a shared_mutex: its owner is inside
constexpr std::uint32_t share_number = share_mark - 1;

constexpr std::uint32_t lower(std::uint64_t word) noexcept { return static_cast<std::uint32_t>(word); }
constexpr std::uint32_t upper(std::uint64_t word) noexcept { return static_cast<std::uint32_t>(word >> 32); }
constexpr std::uint64_t both(std::uint32_t high, std::uint32_t low) noexcept {
  return (std::uint64_t{high} << 32) | low;
}

constexpr std::uint32_t use_bits = 16;
constexpr std::uint32_t use_mask = (1U << use_bits) - 1;
/// How the word names a claim at a certain use. 65 536 uses later the name is the same again: whoever sleeps through
/// exactly so many between two of its steps takes one for the other.
constexpr std::uint32_t claim_name(std::uint32_t index, std::uint32_t state) noexcept {
  return (index << use_bits) | ((state >> claim_step_bits) & use_mask);
}

/// Completes the claim that the word names: what it was about to do has been counted.
template <class Env>
void complete_named(std::uint64_t seen) noexcept {
  const std::uint32_t index = upper(seen) >> use_bits;
  if (index == 0) return;
  auto& state = Env::claim_at(index).state;
  std::uint32_t now = state.load(std::memory_order_acquire);
  if (claim_name(index, now) != upper(seen)) return;
  if (step_of(now) == claim_step::taking) {
    state.compare_exchange_strong(now, with_step(now, claim_step::held), std::memory_order_acq_rel);
  } else if (step_of(now) == claim_step::giving) {
    state.compare_exchange_strong(now, with_step(now, claim_step::idle), std::memory_order_acq_rel);
  }
}

/// Changes the number as `change` says, of its lower half; false if that says no. `name`: the claim that does it; 0: none.
template <class Env, class Change>
bool change_number(typename Env::wide& w, std::uint32_t name, std::uint64_t& seen, Change change) noexcept {
  seen = w.load(std::memory_order_acquire);
  for (;;) {
    std::uint32_t low = lower(seen);
    if (!change(low)) return false;
    complete_named<Env>(seen);  // before its name is overwritten
    if (w.compare_exchange_strong(seen, both(name, low), std::memory_order_acq_rel, std::memory_order_acquire))
      return true;
  }
}

/// Takes a share, with an idle claim of the caller. False if `change` says no.
template <class Env, class Change>
bool take_share(typename Env::wide& w, std::uint32_t index, Change change) noexcept {
  auto& state = Env::claim_at(index).state;
  std::uint32_t taking = next_use(state.load(std::memory_order_relaxed), claim_step::taking);
  state.store(taking, std::memory_order_seq_cst);
  Env::step("share.taking");
  std::uint64_t seen = 0;
  if (!change_number<Env>(w, claim_name(index, taking), seen, change)) {
    state.store(with_step(taking, claim_step::idle), std::memory_order_release);
    return false;
  }
  Env::step("share.counted");
  state.compare_exchange_strong(taking, with_step(taking, claim_step::held), std::memory_order_acq_rel);
  Env::step("share.held");
  return true;
}

/// What became of the word by a change.
struct share_change {
  bool made = false;  // false: it was made before
  std::uint32_t before = 0;
};

/// Gives a share back that a claim holds, by its owner or, if that is dead, by anyone. `now`: the state of the claim, held
/// or giving; if it is another by now, the share was given back before.
template <class Env, class Change>
share_change give_share(typename Env::wide& w, std::uint32_t index, std::uint32_t now, Change change) noexcept {
  auto& state = Env::claim_at(index).state;
  std::uint32_t giving = now;
  if (step_of(now) == claim_step::held) {
    giving = next_use(now, claim_step::giving);
    if (!state.compare_exchange_strong(now, giving, std::memory_order_acq_rel) && now != giving) return {};
    Env::step("share.giving");
  }
  for (;;) {
    std::uint64_t seen = w.load(std::memory_order_acquire);
    if (upper(seen) == claim_name(index, giving)) {
      complete_named<Env>(seen);
      return {};
    }
    // Had it been counted before the word was loaded, whoever overwrote its name would have completed it by now.
    if (step_of(giving) != claim_step::giving || state.load(std::memory_order_acquire) != giving) return {};
    std::uint32_t low = lower(seen);
    change(low);
    complete_named<Env>(seen);
    if (!w.compare_exchange_strong(seen, both(claim_name(index, giving), low), std::memory_order_acq_rel)) continue;
    Env::step("share.given");
    state.compare_exchange_strong(giving, with_step(giving, claim_step::idle), std::memory_order_acq_rel);
    Env::step("share.idle");
    return {true, lower(seen)};
  }
}

/// Gives back what participants hold that have died; true if there was any. `change`: as for give_share().
template <class Env, class Change>
bool settle_shares(typename Env::wide& w, std::uint64_t object, Change change) noexcept {
  bool any = false;
  const std::uint32_t used = Env::claims_used();
  for (std::uint32_t i = 1; i < used; ++i) {
    auto& c = Env::claim_at(i);
    if (c.object.load(std::memory_order_acquire) != object) continue;
    std::uint32_t owner = c.owner.load(std::memory_order_acquire);
    if (owner == 0 || Env::alive(owner)) continue;
    std::uint32_t now = c.state.load(std::memory_order_acquire);
    if (c.owner.load(std::memory_order_acquire) != owner) continue;  // settled, and another's by now
    if (step_of(now) == claim_step::taking) {
      complete_named<Env>(w.load(std::memory_order_acquire));
      // Not counted, unless that or somebody else has completed it.
      if (c.state.compare_exchange_strong(now, with_step(now, claim_step::idle), std::memory_order_acq_rel))
        now = with_step(now, claim_step::idle);
    }
    if (step_of(now) == claim_step::held || step_of(now) == claim_step::giving)
      any |= give_share<Env>(w, i, now, change).made;
    Env::step("share.settled");
    if (step_of(c.state.load(std::memory_order_acquire)) == claim_step::idle)
      c.owner.compare_exchange_strong(owner, 0, std::memory_order_acq_rel);
  }
  return any;
}

/// Sleeps while the number is what `seen` says. False at the deadline.
template <class Env>
bool await_number(typename Env::wide& w, std::uint64_t seen, std::uint32_t epoch, clock::time_point deadline) noexcept {
  if ((lower(seen) & share_waiting) == 0) {
    if (!w.compare_exchange_strong(seen, seen | share_waiting, std::memory_order_acq_rel)) return true;
    Env::step("share.waiting");
  }
  const bool in_time = Env::wait(w, lower(seen) | share_waiting, epoch, deadline);
  Env::step("share.woken");
  return in_time;
}

/// Wakes as many as there is something for. If nobody sleeps, the bit that made us ask is taken away.
template <class Env>
void wake_for_number(typename Env::wide& w, int most) noexcept {
  if (Env::wake(w, most) > 0) return;
  std::uint64_t seen = w.load(std::memory_order_acquire);
  if ((lower(seen) & share_waiting) == 0) return;
  // One may have begun to sleep since, and is not to sleep without the bit.
  if (w.compare_exchange_strong(seen, seen & ~std::uint64_t{share_waiting}, std::memory_order_acq_rel)) {
    Env::step("share.cleared");
    Env::wake(w, all_waiters);
  }
}

// ---- a semaphore --------------------------------------------------------------------------------------------------

struct give_one {
  bool operator()(std::uint32_t& low) const noexcept {
    ++low;
    return true;
  }
};
struct take_one {
  bool operator()(std::uint32_t& low) const noexcept {
    if ((low & share_number) == 0) return false;
    --low;
    return true;
  }
};

/// `index`: the claim of a guard, or 0.
template <class Env>
bool try_acquire(typename Env::wide& w, std::uint32_t index) noexcept {
  std::uint64_t seen = 0;
  return index != 0 ? take_share<Env>(w, index, take_one{}) : change_number<Env>(w, 0, seen, take_one{});
}

template <class Env>
bool acquire_until(typename Env::wide& w, std::uint64_t object, std::uint32_t index,
                   clock::time_point deadline) noexcept {
  for (unsigned turns = Env::spin_turns();; --turns) {
    if (lower(w.load(std::memory_order_relaxed)) != 0 && try_acquire<Env>(w, index)) return true;
    if (turns == 0) break;
    Env::spin();
  }
  for (;;) {
    const std::uint32_t epoch = Env::epoch();
    if (try_acquire<Env>(w, index)) return true;
    if (settle_shares<Env>(w, object, give_one{})) continue;
    const std::uint64_t seen = w.load(std::memory_order_acquire);
    if ((lower(seen) & share_number) != 0) continue;
    if (!await_number<Env>(w, seen, epoch, deadline)) return try_acquire<Env>(w, index);
  }
}

/// False if there would be more than `most`.
template <class Env>
bool release_some(typename Env::wide& w, std::uint32_t count, std::uint32_t most) noexcept {
  std::uint64_t before = 0;
  const bool fits = change_number<Env>(w, 0, before, [&](std::uint32_t& low) {
    if ((low & share_number) > most || most - (low & share_number) < count) return false;
    low += count;
    return true;
  });
  Env::step("release.counted");
  if (fits && (lower(before) & share_waiting) != 0) wake_for_number<Env>(w, static_cast<int>(count));
  return fits;
}

template <class Env>
void release_claimed(typename Env::wide& w, std::uint32_t index, std::uint32_t held) noexcept {
  const share_change done = give_share<Env>(w, index, held, give_one{});
  if (done.made && (done.before & share_waiting) != 0) wake_for_number<Env>(w, 1);
}

}  // namespace tandem::sync
