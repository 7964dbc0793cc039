#pragma once
// A lock in one word that names its owner, so that whoever waits can see that the owner has died.
//
//   0                  free
//   owner              held
//   owner | waiting    held, and somebody may sleep until it is given back
//   died               its owner died: nobody has it before it is repaired
//   died | owner ...   under repair
//
// The word is the whole truth: a participant that is killed between two steps leaves it as it was before or after one of
// them. What it can take with it is a wake-up that it had got or was about to give; its death wakes everybody.
#include <cstdint>

#include <tandem/deadline.hpp>

#include "sync/environment.hpp"

namespace tandem::sync {

constexpr std::uint32_t owner_mask = detail::lock_owner_mask;
constexpr std::uint32_t died_bit = 1U << 30;
constexpr std::uint32_t waiting_bit = 1U << 31;

enum class lock_end {
  taken,
  died,  // its owner has died; not taken
  own,   // the caller has it already; not taken
  late,  // the deadline; not taken
};

enum class lock_purpose { use, repair };

/// What the word is after the death of its owner.
struct leaves_it_died {
  std::uint32_t operator()() const noexcept { return died_bit; }
};
struct leaves_it_free {
  std::uint32_t operator()() const noexcept { return 0; }
};

/// If the owner that `seen` names has died, the word says so from now on, and whoever waits learns of it.
template <class Env, class Legacy = leaves_it_died>
bool bury_owner(typename Env::word& w, std::uint32_t seen, Legacy legacy = {}) noexcept {
  const std::uint32_t owner = seen & owner_mask;
  // Held by nobody, and yet not free: no participant writes that. Who wrote over the word is as a dead owner.
  if (owner == 0 ? seen != waiting_bit : Env::alive(owner)) return false;
  const std::uint32_t left = (seen & died_bit) != 0 ? died_bit : legacy();
  if (w.compare_exchange_strong(seen, left, std::memory_order_acq_rel)) {
    Env::step("lock.buried");
    Env::wake(w, all_waiters);
  }
  return true;
}

template <class Env, class Legacy = leaves_it_died>
lock_end lock_word_once(typename Env::word& w, Legacy legacy = {}) {
  const std::uint32_t me = Env::me();
  for (std::uint32_t seen = w.load(std::memory_order_relaxed);;) {
    if (seen == 0) {
      if (w.compare_exchange_strong(seen, me, std::memory_order_acquire, std::memory_order_relaxed)) break;
      continue;
    }
    if ((seen & died_bit) != 0) return lock_end::died;
    if ((seen & owner_mask) == me) return lock_end::own;
    if (!bury_owner<Env>(w, seen, legacy)) return lock_end::late;
    seen = w.load(std::memory_order_relaxed);
  }
  Env::step("lock.taken");
  return lock_end::taken;
}

template <class Env, class Legacy = leaves_it_died>
lock_end lock_word_until(typename Env::word& w, clock::time_point deadline, lock_purpose purpose = lock_purpose::use,
                         Legacy legacy = {}) {
  const std::uint32_t me = Env::me();
  std::uint32_t mine = me;  // what is written; `| waiting` once we slept, since others may still
  unsigned turns = Env::spin_turns();
  std::uint32_t seen = w.load(std::memory_order_relaxed);
  for (;;) {
    if (seen == 0) {
      // The acquire pairs with the release of unlock_word().
      if (!w.compare_exchange_strong(seen, mine, std::memory_order_acquire, std::memory_order_relaxed)) continue;
      break;
    }
    const std::uint32_t owner = seen & owner_mask;
    if (owner == me) return lock_end::own;
    if ((seen & died_bit) != 0) {
      if (purpose == lock_purpose::use) return lock_end::died;
      if (owner == 0) {
        if (!w.compare_exchange_strong(seen, died_bit | mine, std::memory_order_acquire, std::memory_order_relaxed))
          continue;
        break;
      }
    }
    if (turns > 0) {
      --turns;
      Env::spin();
      seen = w.load(std::memory_order_relaxed);
      continue;
    }
    const std::uint32_t epoch = Env::epoch();  // before the look at the owner
    if (bury_owner<Env>(w, seen, legacy)) {
      seen = w.load(std::memory_order_relaxed);
      continue;
    }
    if ((seen & waiting_bit) == 0) {
      if (!w.compare_exchange_strong(seen, seen | waiting_bit, std::memory_order_relaxed)) continue;
      seen |= waiting_bit;
      Env::step("lock.waiting");
    }
    if (!Env::wait(w, seen, epoch, deadline)) return lock_end::late;
    Env::step("lock.woken");
    mine = me | waiting_bit;
    turns =
        Env::spin_turns();  // others may have come meanwhile: who sleeps at once may be woken in vain, again and again
    seen = w.load(std::memory_order_relaxed);
  }
  Env::step("lock.taken");
  return lock_end::taken;
}

/// False if the caller does not have it. `most`: how many of those who wait try again.
template <class Env>
bool unlock_word(typename Env::word& w, int most = 1) {
  const std::uint32_t seen = w.load(std::memory_order_relaxed);
  if (seen == 0 || (seen & owner_mask) != Env::me()) return false;
  Env::step("unlock.begun");
  const std::uint32_t before = w.exchange(0, std::memory_order_release);
  Env::step("unlock.given");
  if ((before & waiting_bit) != 0) Env::wake(w, most);
  Env::step("unlock.woke");
  return true;
}

/// Ends a repair that failed: it is as when the owner died.
template <class Env>
void spoil_word(typename Env::word& w) noexcept {
  w.exchange(died_bit, std::memory_order_release);
  Env::step("spoil.given");
  Env::wake(w, all_waiters);
}

}  // namespace tandem::sync
