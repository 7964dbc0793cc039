#pragma once
// One writer or many readers. The writer's word is that of a mutex, and who owns it comes next; the readers are a number
// with claims, and a mark that the owner of the word is inside, which it sets once the readers have gone. An owner that
// dies without the mark has changed nothing: the lock is free again.
#include "sync/lock_algorithm.hpp"
#include "sync/share_algorithm.hpp"

namespace tandem::sync {

template <class Env>
struct leaves_it_died_if_inside {
  typename Env::wide& readers;
  std::uint32_t operator()() const noexcept {
    return (lower(readers.load(std::memory_order_acquire)) & share_mark) != 0 ? died_bit : 0;
  }
};

struct one_reader_more {
  bool operator()(std::uint32_t& low) const noexcept {
    if ((low & share_mark) != 0 || (low & share_number) == share_number) return false;
    ++low;
    return true;
  }
};
struct one_reader_fewer {
  bool operator()(std::uint32_t& low) const noexcept {
    if ((low & share_number) != 0) --low;
    return true;
  }
};

/// True if a reader has a claim on the lock that is in force, or about to be.
template <class Env>
bool any_reader(std::uint64_t object) noexcept {
  const std::uint32_t used = Env::claims_used();
  for (std::uint32_t i = 1; i < used; ++i) {
    auto& c = Env::claim_at(i);
    if (c.object.load(std::memory_order_acquire) != object || c.owner.load(std::memory_order_acquire) == 0) continue;
    const claim_step step = step_of(c.state.load(std::memory_order_acquire));
    if (step == claim_step::taking || step == claim_step::held || step == claim_step::giving) return true;
  }
  return false;
}

/// A number of readers that nobody has a claim on was written there by a peer that does not follow these rules. A reader
/// has its claim from before it is counted until it is not any more, and each change of the number renames the word: if it
/// is the same before the look at the claims and after, there was nobody.
template <class Env>
bool forget_readers_of_nobody(typename Env::wide& readers, std::uint64_t seen, std::uint64_t object) noexcept {
  return !any_reader<Env>(object) &&
         readers.compare_exchange_strong(seen, seen & ~std::uint64_t{share_number}, std::memory_order_acq_rel);
}

/// By the owner of the word: waits until no reader is inside, and goes inside. False at the deadline.
template <class Env>
bool enter_alone(typename Env::wide& readers, std::uint64_t object, clock::time_point deadline) noexcept {
  for (unsigned turns = Env::spin_turns();;) {
    const std::uint32_t epoch = Env::epoch();
    std::uint64_t seen = readers.load(std::memory_order_acquire);
    if ((lower(seen) & share_number) == 0) {
      if (readers.compare_exchange_strong(seen, seen | share_mark, std::memory_order_acq_rel)) break;
      continue;
    }
    if (turns > 0) {
      --turns;
      Env::spin();
      continue;
    }
    if (settle_shares<Env>(readers, object, one_reader_fewer{})) continue;
    seen = readers.load(std::memory_order_acquire);
    if ((lower(seen) & share_number) == 0 || forget_readers_of_nobody<Env>(readers, seen, object)) continue;
    if (!await_number<Env>(readers, seen, epoch, deadline)) return false;
  }
  Env::step("alone.inside");
  return true;
}

template <class Env>
void leave_alone(typename Env::wide& readers) noexcept {
  readers.fetch_and(~std::uint64_t{share_mark}, std::memory_order_acq_rel);
  Env::step("alone.outside");
}

/// With an idle claim of the caller.
template <class Env>
lock_end lock_word_shared(typename Env::word& w, typename Env::wide& readers, std::uint32_t claim,
                          clock::time_point deadline) {
  const std::uint32_t me = Env::me();
  unsigned turns = Env::spin_turns();
  int refusals = 1 << 20;
  constexpr int look_at_the_clock = 64;
  for (;;) {
    std::uint32_t seen = w.load(std::memory_order_acquire);
    if (seen == 0) {
      if (take_share<Env>(readers, claim, one_reader_more{})) return lock_end::taken;
      // A writer came between. The mark in a lock that stays free is of nobody who follows these rules.
      if (--refusals == 0) return lock_end::died;
      if (refusals % look_at_the_clock == 0 && deadline != clock::time_point::max() && clock::now() >= deadline)
        return lock_end::late;
      continue;
    }
    if ((seen & died_bit) != 0) return lock_end::died;
    if ((seen & owner_mask) == me) return lock_end::own;
    if (turns > 0) {
      --turns;
      Env::spin();
      continue;
    }
    const std::uint32_t epoch = Env::epoch();
    if (bury_owner<Env>(w, seen, leaves_it_died_if_inside<Env>{readers})) continue;
    if ((seen & waiting_bit) == 0) {
      if (!w.compare_exchange_strong(seen, seen | waiting_bit, std::memory_order_relaxed)) continue;
      seen |= waiting_bit;
      Env::step("lock_shared.waiting");
    }
    if (!Env::wait(w, seen, epoch, deadline)) return lock_end::late;
    Env::step("lock_shared.woken");
  }
}

}  // namespace tandem::sync
