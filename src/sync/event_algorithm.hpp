#pragma once
// An event in one word: whether it is set, whether somebody may wait, and how often it was set, so that who waits while it
// is set goes on even if it is reset at once.
#include <cstdint>

#include "sync/environment.hpp"

namespace tandem::sync {

constexpr std::uint32_t event_set = 1;
constexpr std::uint32_t event_waiting = 2;
constexpr std::uint32_t one_setting = 4;

template <class Env>
void set_event(typename Env::word& w) noexcept {
  std::uint32_t seen = w.load(std::memory_order_relaxed);
  for (;;) {
    // Also where it is set already: what came before this is seen by whoever finds it set after this.
    const bool was_set = (seen & event_set) != 0;
    const std::uint32_t after = was_set ? seen : ((seen & ~event_waiting) + one_setting) | event_set;
    if (!w.compare_exchange_weak(seen, after, std::memory_order_acq_rel, std::memory_order_relaxed)) continue;
    if (was_set) return;
    break;
  }
  Env::step("event.set");
  if ((seen & event_waiting) != 0) Env::wake(w, all_waiters);
}

template <class Env>
bool await_event(typename Env::word& w, clock::time_point deadline) {
  std::uint32_t seen = w.load(std::memory_order_acquire);
  const std::uint32_t settings = seen / one_setting;
  for (unsigned turns = Env::spin_turns(); turns > 0 && (seen & event_set) == 0; --turns) {
    Env::spin();
    seen = w.load(std::memory_order_acquire);
  }
  for (;; seen = w.load(std::memory_order_acquire)) {
    if ((seen & event_set) != 0 || seen / one_setting != settings) return true;
    const std::uint32_t epoch = Env::epoch();
    if ((seen & event_waiting) == 0) {
      if (!w.compare_exchange_strong(seen, seen | event_waiting, std::memory_order_relaxed)) continue;
      seen |= event_waiting;
      Env::step("event.waiting");
    }
    if (!Env::wait(w, seen, epoch, deadline)) {
      seen = w.load(std::memory_order_acquire);
      return (seen & event_set) != 0 || seen / one_setting != settings;
    }
    Env::step("event.woken");
  }
}

}  // namespace tandem::sync
