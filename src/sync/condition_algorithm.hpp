#pragma once
// A condition in one word: how many notifications there were, and whether somebody may wait (the lowest bit).
//
// A waiter takes a ticket, which sets the bit, while it holds its lock; it sleeps as long as the word is its ticket. A
// dead waiter leaves the bit, and no more.
#include <cstdint>

#include "sync/environment.hpp"

namespace tandem::sync {

constexpr std::uint32_t somebody_waits = 1;
constexpr std::uint32_t one_notification = 2;

template <class Env>
std::uint32_t take_ticket(typename Env::word& w) noexcept {
  return w.fetch_or(somebody_waits, std::memory_order_seq_cst) | somebody_waits;
}

/// False at the deadline. `epoch`: from before the ticket was taken. May return early; it does when somebody dies, since
/// that one may have been woken instead of us.
template <class Env>
bool await_notification(typename Env::word& w, std::uint32_t ticket, std::uint32_t epoch,
                        clock::time_point deadline) noexcept {
  while (w.load(std::memory_order_acquire) == ticket && Env::epoch() == epoch) {
    if (!Env::wait(w, ticket, epoch, deadline)) return false;
    Env::step("wait.woken");
  }
  return true;
}

template <class Env>
void notify_one_waiter(typename Env::word& w) noexcept {
  if ((w.load(std::memory_order_seq_cst) & somebody_waits) == 0) return;
  std::uint32_t after = w.fetch_add(one_notification, std::memory_order_seq_cst) + one_notification;
  Env::step("notify_one.counted");
  if (Env::wake(w, 1) > 0) return;
  // Nobody sleeps: the next notification need not ask the kernel. But one may have begun to since, with this very word
  // for a ticket, and is not to sleep without the bit.
  if (w.compare_exchange_strong(after, after & ~somebody_waits, std::memory_order_seq_cst)) {
    Env::step("notify_one.cleared");
    Env::wake(w, all_waiters);
  }
}

template <class Env>
void notify_all_waiters(typename Env::word& w) noexcept {
  std::uint32_t seen = w.load(std::memory_order_seq_cst);
  do {
    if ((seen & somebody_waits) == 0) return;
  } while (!w.compare_exchange_weak(seen, (seen + one_notification) & ~somebody_waits, std::memory_order_seq_cst));
  Env::step("notify_all.counted");
  Env::wake(w, all_waiters);
}

}  // namespace tandem::sync
