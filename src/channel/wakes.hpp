#pragma once
// Sleeping until something happens to a queue, with no system call where nobody sleeps.
//
// One word: how often somebody was woken (the futex), how many are registered to be woken, and to how many of those a wake
// has been granted. Whoever makes a thing happen grants one wake, if there is somebody registered who has none yet: so one
// who was woken, and does not run yet, is not woken again. Who leaves takes a grant along, his own or another's; so there
// are never more grants than there are woken ones, and whoever still sleeps is found. (An event count with wakes that are
// claimed; the number of grants, and not the sleeper, is what is claimed.)
//
// Registering tells how often somebody was woken until then, in the same step. To read that afterwards would lose a wake:
// one that came between the two would seem to lie in the past.
//
// A dead one stays registered; that costs a call into the kernel for nothing, once. One that dies with a wake in its hands,
// given or taken, wakes everybody by its death.
#include <cstdint>

#include <tandem/deadline.hpp>

#include "sync/environment.hpp"

namespace tandem::channel {

constexpr unsigned wake_count_bits = 32;
constexpr unsigned registered_bits = 20;
constexpr std::uint64_t wake_count_mask = 0xFFFF'FFFF;
constexpr std::uint64_t registered_mask = (1U << registered_bits) - 1;
constexpr std::uint64_t one_registered = std::uint64_t{1} << wake_count_bits;
constexpr unsigned granted_shift = wake_count_bits + registered_bits;
constexpr std::uint64_t one_granted = std::uint64_t{1} << granted_shift;
constexpr std::uint64_t most_granted = 0xFFF;

constexpr std::uint64_t registered_in(std::uint64_t w) noexcept { return (w >> wake_count_bits) & registered_mask; }
constexpr std::uint64_t granted_in(std::uint64_t w) noexcept { return w >> granted_shift; }
constexpr std::uint64_t with_next_wake(std::uint64_t w) noexcept {
  return (w & ~wake_count_mask) | ((w + 1) & wake_count_mask);
}

/// Something happened that one of those who sleep may have waited for. What it was is published before.
template <class Env>
void wake_one(typename Env::wide& w) noexcept {
  // Sequentially consistent, as what published it: pairs with the step in which a sleeper registers, after which it looks.
  std::uint64_t seen = w.load(std::memory_order_seq_cst);
  while (registered_in(seen) > granted_in(seen)) {
    const std::uint64_t granted = granted_in(seen) == most_granted ? 0 : one_granted;
    if (!w.compare_exchange_weak(seen, with_next_wake(seen) + granted, std::memory_order_seq_cst)) continue;
    Env::step("wake.granted");
    Env::wake(w, 1);
    return;
  }
}

/// The same for all of them.
template <class Env>
void wake_all(typename Env::wide& w) noexcept {
  std::uint64_t seen = w.load(std::memory_order_seq_cst);
  while (registered_in(seen) != 0) {
    const std::uint64_t granted = std::min(registered_in(seen), most_granted);
    const std::uint64_t after = (with_next_wake(seen) & (one_granted - 1)) | (granted << granted_shift);
    if (!w.compare_exchange_weak(seen, after, std::memory_order_seq_cst)) continue;
    Env::step("wake.granted");
    Env::wake(w, sync::all_waiters);
    return;
  }
}

/// From now on somebody is registered; gives how often somebody was woken until then.
template <class Env>
std::uint32_t register_sleeper(typename Env::wide& w) noexcept {
  return static_cast<std::uint32_t>(w.fetch_add(one_registered, std::memory_order_seq_cst));
}

template <class Env>
void unregister_sleeper(typename Env::wide& w) noexcept {
  std::uint64_t seen = w.load(std::memory_order_relaxed);
  for (;;) {
    std::uint64_t after = seen;
    if (registered_in(after) != 0) after -= one_registered;
    if (granted_in(after) != 0) after -= one_granted;
    if (w.compare_exchange_weak(seen, after, std::memory_order_seq_cst)) return;
  }
}

enum class wait_end { done, late, cancelled };

/// As it is; tests plant a wrong one.
struct usual_order {
  template <class Env>
  static std::uint32_t begin(typename Env::wide& w) noexcept {
    return register_sleeper<Env>(w);
  }
};

/// Sleeps until `attempt()` is true, which is tried whenever something happened, and when somebody died.
template <class Env, class Order = usual_order, class Attempt, class Cancelled>
wait_end await(typename Env::wide& w, clock::time_point deadline, Attempt&& attempt, Cancelled&& cancelled) {
  for (;;) {
    const std::uint32_t wakes = Order::template begin<Env>(w);
    Env::step("wait.registered");
    struct registration {
      typename Env::wide& word;
      ~registration() { unregister_sleeper<Env>(word); }
    };
    bool in_time = true;
    {
      const registration while_here{w};
      const std::uint32_t deaths = Env::epoch();  // before the look, which sees who has died
      if (attempt()) return wait_end::done;
      if (cancelled()) break;
      in_time = Env::wait(w, wakes, deaths, deadline);
      Env::step("wait.woken");
    }
    if (attempt()) return wait_end::done;
    if (!in_time) {
      wake_one<Env>(w);  // one that came just now may have been meant for another
      return wait_end::late;
    }
  }
  wake_one<Env>(w);
  return wait_end::cancelled;
}

}  // namespace tandem::channel
