// A participant is killed at each named point of each operation, in each part that it can play; those that are left go on.
#include <array>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

#include <tandem/sync.hpp>

#include "support/fixture.hpp"
#include "sync/death_point.hpp"
#include "sync/kills.hpp"
#include "sync/mapped.hpp"

#if !defined(TANDEM_FAULTS)
#error "these tests need the named points: configure with -DTANDEM_FAULTS=ON"
#endif

namespace {

using tandem::file_descriptor;
using tandem::test::mapped;

struct everything {
  tandem::mutex mutex = {};
  tandem::condition_variable changed = {};
  tandem::shared_mutex book = {};
  tandem::counting_semaphore<> permits{2};
  tandem::event event = {};
  tandem::barrier barrier{2};
  tandem::latch latch{1};
  tandem::once_flag once = {};
  std::array<tandem::once_flag, 8> done = {};
  std::array<std::atomic<int>, 8> calls = {};
  tandem::counting_semaphore<> given{0};
  long turn = 0;
  std::atomic<int> victim_ready{0};
  std::atomic<int> survivor_ready{0};
  std::atomic<int> begun{0};
};

// What each part does again and again; the survivor plays the same, or another, until the victim is dead.
enum part { owner, waiter, notifier, reader, writer, taker, meeter, setter, caller, heir, finisher, giver };

void lock_once(everything& e) {
  try {
    const std::lock_guard lock(e.mutex);
    ++e.turn;
  } catch (const tandem::owner_died&) {
    e.mutex.lock_and_repair([] {});
  }
}

void wait_once(everything& e) {
  try {
    std::unique_lock lock(e.mutex);
    const long seen = e.turn;
    e.changed.wait_for(lock, std::chrono::milliseconds(2), [&] { return e.turn != seen; });
  } catch (const tandem::owner_died&) {
    e.mutex.lock_and_repair([] {});
  }
}

void notify_once(everything& e) {
  lock_once(e);
  e.changed.notify_one();
  e.changed.notify_all();
}

void read_once(everything& e) {
  try {
    const std::shared_lock lock(e.book);
  } catch (const tandem::owner_died&) {
    e.book.lock_and_repair([] {});
  }
}

void write_once(everything& e) {
  try {
    const std::unique_lock lock(e.book);
  } catch (const tandem::owner_died&) {
    e.book.lock_and_repair([] {});
  }
}

void take_once(everything& e) {
  const tandem::counting_semaphore<>::guard first(e.permits);
  std::this_thread::yield();
}

void meet_once(everything& e) {
  try {
    e.barrier.arrive_and_wait();
  } catch (const tandem::broken_barrier&) {
  }
}

void set_once(everything& e) {
  e.event.set();
  e.event.reset();
  e.event.wait_for(std::chrono::microseconds(100));
}

void call_it_once(everything& e) {
  try {
    tandem::call_once(e.once, [] { throw 1; });  // so that there is a next time
  } catch (int) {
  }
}

// Takes a lock from a thread that ended with it, fails to repair it, and does.
void inherit_once(everything& e) {
  const auto lock_or_repair = [&] {
    try {
      e.mutex.lock();
      return true;
    } catch (const tandem::owner_died&) {
    }
    try {
      e.mutex.lock_and_repair([] { throw 1; });
    } catch (int) {
    }
    e.mutex.lock_and_repair([] {});
    return false;
  };
  std::thread([&] { lock_or_repair(); }).join();
  if (lock_or_repair()) e.mutex.unlock();
}

// Each begins elsewhere, so that each has something to call.
void finish_once(everything& e) {
  const auto first = static_cast<std::size_t>(::getpid());
  for (std::size_t k = 0; k < e.done.size(); ++k) {
    const std::size_t i = (first + k) % e.done.size();
    tandem::call_once(e.done[i], [&] { ++e.calls[i]; });
  }
}

void give_once(everything& e) {
  e.given.release(2);
  e.given.try_acquire_for(std::chrono::microseconds(100));
  e.given.try_acquire();
}

void play(everything& e, int what) {
  switch (what) {
    case owner: return lock_once(e);
    case waiter: return wait_once(e);
    case notifier: return notify_once(e);
    case reader: return read_once(e);
    case writer: return write_once(e);
    case taker: return take_once(e);
    case meeter: return meet_once(e);
    case setter: return set_once(e);
    case heir: return inherit_once(e);
    case finisher: return finish_once(e);
    case giver: return give_once(e);
    default: return call_it_once(e);
  }
}

void be_the_victim(const file_descriptor& file, int what, const std::string& point, int nth) {
  const mapped<everything> e(file);
  e->victim_ready = 1;
  while (e->survivor_ready == 0) std::this_thread::yield();
  tandem::sync::arm_death_point(point.c_str(), nth, tandem::test::die);
  e->begun = 1;
  for (;;) play(*e, what);
}

// Ends when told; what it does last, after the victim's death, must come to an end too.
void survive(const file_descriptor& file, int what) {
  const mapped<everything> e(file);
  e->survivor_ready = 1;
  while (e->begun == 0) std::this_thread::yield();  // what can be done once only is not done before the victim comes
  while (e->victim_ready != 2 && !(what == meeter && e->barrier.broken())) play(*e, what);
  if (what != meeter) {
    for (int i = 0; i < 3; ++i) play(*e, what);
  }
}

struct cell {
  const char* point;
  part victim;
  part survivor;
};

constexpr cell cells[] = {
    {"lock.taken", owner, owner},
    {"lock.waiting", owner, owner},
    {"lock.woken", owner, owner},
    {"unlock.begun", owner, owner},
    {"unlock.given", owner, owner},
    {"unlock.woke", owner, owner},
    {"lock.taken", owner, waiter},
    {"unlock.given", notifier, waiter},
    {"wait.ticket", waiter, notifier},
    {"wait.unlocked", waiter, notifier},
    {"wait.woken", waiter, notifier},
    {"notify_one.counted", notifier, waiter},
    {"notify_one.cleared", notifier, waiter},
    {"notify_all.counted", notifier, waiter},
    {"share.taking", reader, writer},
    {"share.counted", reader, writer},
    {"share.held", reader, writer},
    {"share.giving", reader, writer},
    {"share.given", reader, writer},
    {"share.idle", reader, writer},
    {"lock_shared.waiting", reader, writer},
    {"lock_shared.woken", reader, writer},
    {"alone.inside", writer, reader},
    {"alone.outside", writer, reader},
    {"share.waiting", writer, reader},
    {"share.woken", writer, reader},
    {"unlock.given", writer, reader},
    {"alone.inside", writer, writer},
    {"share.taking", taker, taker},
    {"share.counted", taker, taker},
    {"share.held", taker, taker},
    {"share.giving", taker, taker},
    {"share.given", taker, taker},
    {"share.idle", taker, taker},
    {"share.waiting", taker, taker},
    {"share.woken", taker, taker},
    {"share.cleared", taker, taker},
    {"barrier.attached", meeter, meeter},
    {"barrier.arrived", meeter, meeter},
    {"barrier.passed", meeter, meeter},
    {"barrier.woken", meeter, meeter},
    {"event.set", setter, setter},
    {"event.waiting", setter, setter},
    {"event.woken", setter, setter},
    {"lock.taken", caller, caller},
    {"unlock.given", caller, caller},
    {"lock.buried", heir, owner},
    {"spoil.given", heir, owner},
    {"lock.taken", heir, heir},
    {"once.called", finisher, finisher},
    {"once.done", finisher, finisher},
    {"release.counted", giver, giver},
};

class matrix : public tandem::test::checked, public testing::WithParamInterface<cell> {};

int rounds() { return tandem::test::rounds_or(3); }

TEST_P(matrix, the_others_go_on) {
  const cell& c = GetParam();
  int reached = 0;
  for (int round = 0; round < rounds(); ++round) {
    const tandem::test::watchdog of_this_round;
    const mapped<everything> e(std::in_place);
    const int survivors = c.survivor == meeter ? 1 : 2;
    tandem::process victim(be_the_victim, e.file(), static_cast<int>(c.victim), std::string(c.point), 1 + round % 3);
    std::vector<tandem::process<void>> others;
    while (e->victim_ready == 0) std::this_thread::yield();
    for (int i = 0; i < survivors; ++i) others.emplace_back(survive, e.file(), static_cast<int>(c.survivor));
    // A point that needs a meeting of chance may not be reached; then it is a death at any place.
    if (victim.join_for(std::chrono::milliseconds(300))) {
      ++reached;
    } else {
      victim.kill();
      victim.join();
    }
    e->victim_ready = 2;
    for (auto& other : others) EXPECT_NO_THROW(other.get());
    // All is as if the victim had never been: nobody holds anything.
    if (c.victim == owner || c.victim == waiter || c.victim == notifier || c.victim == heir) {
      lock_once(*e);
      EXPECT_TRUE(e->mutex.try_lock());
      e->mutex.unlock();
    }
    if (c.victim == reader || c.victim == writer) {
      write_once(*e);
      EXPECT_TRUE(e->book.try_lock());
      e->book.unlock();
    }
    if (c.victim == taker) {
      EXPECT_TRUE(e->permits.try_acquire());
      EXPECT_TRUE(e->permits.try_acquire());
      EXPECT_FALSE(e->permits.try_acquire());
    }
    if (c.victim == meeter) {
      EXPECT_THROW(e->barrier.arrive_and_wait(), tandem::broken_barrier);
      EXPECT_TRUE(e->barrier.broken());
      e->barrier.reset();
      EXPECT_FALSE(e->barrier.broken());
    }
    if (c.victim == finisher) {
      finish_once(*e);
      for (const auto& calls : e->calls)
        EXPECT_THAT(calls.load(), testing::AnyOf(1, 2));  // 2: it died before it had said so
    }
    if (c.victim == caller) {
      int calls = 0;
      tandem::call_once(e->once, [&] { ++calls; });
      EXPECT_EQ(calls, 1);
    }
  }
  tandem::test::tell_reached(reached, rounds(), c.point);
}

constexpr const char* part_names[] = {"owner",  "waiter", "notifier", "reader", "writer",   "taker",
                                      "meeter", "setter", "caller",   "heir",   "finisher", "giver"};

INSTANTIATE_TEST_SUITE_P(kills, matrix, testing::ValuesIn(cells), [](const auto& parameter) {
  const cell& c = parameter.param;
  std::string name = std::string(part_names[c.victim]) + "_at_" + c.point + "_beside_" + part_names[c.survivor];
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
});

}  // namespace
