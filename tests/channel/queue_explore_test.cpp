// The slots of a queue in every order of steps, within a bound, with a death at every step.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <memory>

#include "channel/arena.hpp"
#include "sync/explore.hpp"

namespace {

using env = tandem::test::explored_environment;
using namespace tandem::channel;
using tandem::test::world;
constexpr auto never = tandem::clock::time_point::max();

void require(bool condition, const char* what) { world::current().require(condition, what); }

void expect_sound(const world::found& result) {
  EXPECT_EQ(result.failure, "");
  std::printf("%ld schedules, %s\n", result.runs, result.complete ? "all within the bounds" : "not all");
}

// As the real one, but the wakes so far are read after it was registered.
struct epoch_read_too_late {
  template <class Env>
  static std::uint32_t begin(typename Env::wide& w) noexcept {
    register_sleeper<Env>(w);
    return static_cast<std::uint32_t>(w.load(std::memory_order_seq_cst));
  }
};
// Nobody is registered.
struct unregistered {
  template <class Env>
  static std::uint32_t begin(typename Env::wide& w) noexcept {
    return static_cast<std::uint32_t>(w.load(std::memory_order_seq_cst));
  }
};

struct slot_of_ints {
  slot_head<env> head{};
  int payload = 0;
};

constexpr std::size_t most_slots = 4;

// A queue with small numbers as messages, and what became of each.
struct model {
  ring_words<env> words{};
  std::array<slot_of_ints, most_slots> slots{};
  std::array<placed_slot<env>, most_slots> placed{};
  ring<env> flat;
  ring<env> any;
  arena<env> room;
  std::array<int, 8> begun{}, pushed{}, got{};

  explicit model(std::uint64_t count, std::uint64_t limit, std::uint64_t bytes = 0)
      : flat(words, reinterpret_cast<std::byte*>(slots.data()), {sizeof(slot_of_ints), count, limit}),
        any(words, reinterpret_cast<std::byte*>(placed.data()), {sizeof(placed_slot<env>), count, limit, true}),
        room(any, bytes) {}
};

using deadline_type = tandem::clock::time_point;

template <class Order>
bool push(model& m, int value, deadline_type deadline = never) {
  const std::uint32_t self = env::me();
  std::uint64_t position = 0;
  claim_end end{};
  const auto attempt = [&] {
    end = m.flat.claim_push(self, position, [](std::uint64_t) { return true; });
    return end != claim_end::none;
  };
  m.begun[static_cast<std::size_t>(value)] = static_cast<int>(self);
  bool slept = false;
  if (!attempt()) {
    slept = true;
    if (await<env, Order>(m.words.room, deadline, attempt, [] { return false; }) != wait_end::done) {
      m.begun[static_cast<std::size_t>(value)] = 0;
      return false;
    }
  }
  if (end == claim_end::ended) return false;
  reinterpret_cast<slot_of_ints&>(m.flat.slot(position)).payload = value;
  world::current().step();
  require(m.flat.commit(position, self), "a pusher lost its slot");
  m.pushed[static_cast<std::size_t>(value)] = 1;
  wake_one<env>(m.words.items);
  if (slept) wake_one<env>(m.words.room);
  return true;
}

bool not_cancelled() { return false; }

// The message; 0 at the end, at the deadline, or if it was cancelled.
template <class Order>
int pop(model& m, deadline_type deadline = never, bool (*cancelled)() = not_cancelled) {
  const std::uint32_t self = env::me();
  std::uint64_t position = 0;
  claim_end end{};
  const auto attempt = [&] {
    end = m.flat.claim_pop(self, position);
    return end != claim_end::none;
  };
  bool slept = false;
  if (!attempt()) {
    slept = true;
    if (await<env, Order>(m.words.items, deadline, attempt, cancelled) != wait_end::done) return 0;
  }
  if (end == claim_end::ended) return 0;
  const int value = reinterpret_cast<slot_of_ints&>(m.flat.slot(position)).payload;
  world::current().step();
  require(m.flat.release(position, self), "a popper lost its slot");
  require(++m.got[static_cast<std::size_t>(value)] == 1, "a message came twice");
  wake_one<env>(m.words.room);
  if (slept && m.flat.is_next_there()) wake_one<env>(m.words.items);
  return value;
}

// Runs when all others have ended or died: what is left is popped, and each message was got, or is counted.
void audit(const std::shared_ptr<model>& m, int messages, bool closed) {
  m->flat.finish_burials();
  if (!closed) m->flat.close();
  while (pop<usual_order>(*m) != 0) {
  }
  const std::uint64_t count = m->flat.form().count;
  for (std::uint64_t i = 0; i < count; ++i)
    m->flat.bury_if_dead(i, m->flat.slot(i).word.load(std::memory_order_seq_cst));
  std::uint64_t got = 0, not_come = 0;
  for (std::size_t v = 1; v <= static_cast<std::size_t>(messages); ++v) {
    got += m->got[v] != 0 ? 1U : 0U;
    not_come += m->pushed[v] != 0 && m->got[v] == 0 ? 1U : 0U;
  }
  const std::uint64_t positions = m->flat.taken(), torn = m->words.torn.peek(), lost = m->words.lost.peek();
  // Each position that was taken is accounted for.
  require(positions == got + torn + lost, "a message is neither here nor counted");
  require(not_come <= lost && torn + lost <= 1, "one death cost more than the one message");
  require(m->words.head.peek() == positions, "the head stayed behind");
}

template <class Order = usual_order>
world::found explore(world::bounds bounds, std::uint64_t slots, std::uint64_t limit, int pushers, int poppers,
                     int each) {
  return world::explore(bounds, [=] {
    auto m = std::make_shared<model>(slots, limit);
    world::scenario s;
    // Where somebody may die, the others must not wait for ever for what he would have done.
    const deadline_type deadline = bounds.deaths != 0 ? deadline_type{} : never;
    for (int p = 0; p < pushers; ++p) {
      s.bodies.push_back([=] {
        for (int i = 0; i < each; ++i) push<Order>(*m, 1 + p * each + i, deadline);
      });
    }
    for (int p = 0; p < poppers; ++p) {
      s.bodies.push_back([=] {
        for (int i = 0; i < pushers * each / poppers; ++i) pop<Order>(*m, deadline);
      });
    }
    s.audit = [=] { audit(m, pushers * each, false); };
    return s;
  });
}

TEST(queue_explore, one_to_one) { expect_sound(explore({.preemptions = 3}, 2, 2, 1, 1, 3)); }
TEST(queue_explore, two_to_two) { expect_sound(explore({.preemptions = 2}, 2, 2, 2, 2, 1)); }
TEST(queue_explore, two_to_two_twice) { expect_sound(explore({.preemptions = 2}, 2, 2, 2, 2, 2)); }
TEST(queue_explore, a_bound_below_the_slots) { expect_sound(explore({.preemptions = 2}, 4, 1, 2, 1, 2)); }
TEST(queue_explore, a_death_one_to_one) { expect_sound(explore({.preemptions = 2, .deaths = 1}, 2, 2, 1, 1, 3)); }
TEST(queue_explore, a_death_two_to_two) { expect_sound(explore({.preemptions = 1, .deaths = 1}, 2, 2, 2, 2, 1)); }
TEST(queue_explore, a_death_two_to_two_twice) { expect_sound(explore({.preemptions = 1, .deaths = 1}, 2, 1, 2, 2, 2)); }

TEST(queue_explore, planted_errors_are_found) {
  EXPECT_NE(explore<epoch_read_too_late>({.preemptions = 2, .most_runs = 1'000'000}, 2, 1, 1, 2, 2).failure, "");
  EXPECT_NE(explore<unregistered>({.preemptions = 2, .most_runs = 1'000'000}, 2, 2, 1, 1, 3).failure, "");
}

// ---- a close, and a killed pusher, while others wait ------------------------------------------------------------------

TEST(queue_explore, a_close_wakes_and_loses_nothing) {
  expect_sound(world::explore({.preemptions = 3}, [] {
    auto m = std::make_shared<model>(2, 2);
    world::scenario s;
    s.bodies.push_back([=] {
      for (int v = 1; v <= 3; ++v) {
        if (!push<usual_order>(*m, v)) return;
      }
    });
    s.bodies.push_back([=] {
      while (pop<usual_order>(*m) != 0) {
      }
    });
    s.bodies.push_back([=] { m->flat.close(); });
    s.audit = [=] {
      for (std::size_t v = 1; v <= 3; ++v) require(m->pushed[v] == m->got[v], "what was pushed did not come");
      require(pop<usual_order>(*m) == 0, "it goes on after its end");
    };
    return s;
  }));
}

// A popper that waits for ever gets what the second pusher pushes, though the first died before it.
TEST(queue_explore, a_waiting_popper_survives_a_dead_pusher) {
  expect_sound(world::explore({.preemptions = 2, .deaths = 1}, [] {
    auto m = std::make_shared<model>(4, 4);
    world::scenario s;
    s.bodies.push_back([=] { push<usual_order>(*m, 1); });
    s.bodies.push_back([=] {
      push<usual_order>(*m, 2);
      m->flat.close();
    });
    s.bodies.push_back([=] {
      // The second one's death is told otherwise (it was the last).
      while (pop<usual_order>(*m, never, [] { return env::killed(2); }) != 0) {
      }
    });
    s.audit = [=] {
      m->flat.close();
      while (pop<usual_order>(*m) != 0) {
      }
    };
    return s;
  }));
}

// ---- messages of any size ---------------------------------------------------------------------------------------------

bool push_any(model& m, std::uint64_t size, deadline_type deadline = {}) {
  const std::uint32_t self = env::me();
  std::uint64_t position = 0;
  claim_end end{};
  const auto attempt = [&] {
    end = m.room.claim_push(self, position, size, deadline);
    return end != claim_end::none;
  };
  if (!attempt() && await<env>(m.words.room, deadline, attempt, [] { return false; }) != wait_end::done) return false;
  const auto& slot = m.room.slot(position);
  const std::uint64_t start = slot.start.load();
  require(slot.size.load() == size, "another has written into a slot that was taken");
  require(start % 64 == 0, "room begins between lines");
  world::current().step();
  require(m.any.commit(position, self), "a pusher lost its slot");
  wake_one<env>(m.words.items);
  return true;
}

TEST(queue_explore, room_is_never_given_twice) {
  for (const int deaths : {0, 1}) {
    expect_sound(world::explore({.preemptions = 2, .deaths = deaths}, [] {
      auto m = std::make_shared<model>(4, 4, 192);
      world::scenario s;
      for (int p = 0; p < 2; ++p) {
        s.bodies.push_back([=] {
          for (const std::uint64_t size : {100U, 60U}) push_any(*m, size);
        });
      }
      s.bodies.push_back([=] {
        const std::uint32_t self = env::me();
        for (int i = 0; i < 3; ++i) {
          std::uint64_t position = 0;
          if (m->any.claim_pop(self, position) != claim_end::taken) continue;
          world::current().step();
          m->any.release(position, self);
          wake_one<env>(m->words.room);
        }
      });
      s.audit = [=] {
        // What is still in it does not overlap.
        m->any.finish_burials();
        std::uint64_t lines = 0;
        for (std::uint64_t at = m->words.head.peek(); at < m->words.tail.peek(); ++at)
          lines += (m->room.slot(at).size.load() + 63) / 64;
        require(lines <= 3, "more is in it than there is room for");
      };
      return s;
    }));
  }
}

void pop_any(model& m) {
  const std::uint32_t self = env::me();
  std::uint64_t position = 0;
  const auto attempt = [&] { return m.any.claim_pop(self, position) != claim_end::none; };
  if (!attempt()) await<env>(m.words.items, never, attempt, [] { return false; });
  world::current().step();
  m.any.release(position, self);
  m.any.wake_for_room();
}

struct flag {
  env::word word;
  void set() {
    word.store(1);
    env::wake(word, tandem::sync::all_waiters);
  }
  void await() {
    while (word.load() == 0) env::wait(word, 0, env::epoch(), never);
  }
};

// Room that is too little for one of those who wait is found by another, to whom it is enough.
TEST(queue_explore, room_is_found_by_the_one_it_is_enough_for) {
  expect_sound(world::explore({.preemptions = 2}, [] {
    auto m = std::make_shared<model>(4, 4, 192);
    auto is_full = std::make_shared<flag>();
    auto small_one_is_in = std::make_shared<flag>();
    world::scenario s;
    s.bodies.push_back([=] {
      push_any(*m, 128, never);
      push_any(*m, 64, never);
      is_full->set();
      pop_any(*m);
      small_one_is_in->await();
      for (int i = 0; i < 3; ++i) pop_any(*m);
    });
    s.bodies.push_back([=] {
      is_full->await();
      push_any(*m, 192, never);
    });
    s.bodies.push_back([=] {
      is_full->await();
      push_any(*m, 64, never);
      small_one_is_in->set();
    });
    return s;
  }));
}

}  // namespace
