// The algorithms in every order of steps, within a bound, with a death at every step.
#include "sync/explore.hpp"

#include <gtest/gtest.h>

#include <memory>

#include "sync/barrier_algorithm.hpp"
#include "sync/condition_algorithm.hpp"
#include "sync/epoch_algorithm.hpp"
#include "sync/event_algorithm.hpp"
#include "sync/lock_algorithm.hpp"
#include "sync/share_algorithm.hpp"
#include "sync/shared_lock_algorithm.hpp"

namespace {

using env = tandem::test::explored_environment;
using tandem::sync::lock_end;
using tandem::sync::lock_purpose;
using tandem::test::world;
constexpr auto never = tandem::clock::time_point::max();

void require(bool condition, const char* what) { world::current().require(condition, what); }

void expect_sound(const world::found& result) {
  EXPECT_EQ(result.failure, "");
  std::printf("%ld schedules, %s\n", result.runs, result.complete ? "all within the bounds" : "not all");
}

// ---- a lock -------------------------------------------------------------------------------------------------------

struct real_lock {
  static lock_end lock(env::word& w, tandem::clock::time_point deadline, lock_purpose purpose) {
    return tandem::sync::lock_word_until<env>(w, deadline, purpose);
  }
  static void unlock(env::word& w) { require(tandem::sync::unlock_word<env>(w), "an owner could not give it back"); }
};

// As the real one, but who waits does not say so.
struct lock_without_waiting_bit {
  static lock_end lock(env::word& w, tandem::clock::time_point deadline, lock_purpose) {
    for (;;) {
      std::uint32_t seen = 0;
      if (w.compare_exchange_strong(seen, env::me())) return lock_end::taken;
      env::wait(w, seen, env::epoch(), deadline);
    }
  }
  static void unlock(env::word& w) {
    if ((w.exchange(0) & tandem::sync::waiting_bit) != 0) env::wake(w, 1);
  }
};

// As the real one, but nobody looks whether the owner lives.
struct lock_blind_to_deaths {
  static lock_end lock(env::word& w, tandem::clock::time_point deadline, lock_purpose) {
    const std::uint32_t me = env::me();
    std::uint32_t mine = me;
    for (;;) {
      std::uint32_t seen = 0;
      if (w.compare_exchange_strong(seen, mine)) return lock_end::taken;
      const std::uint32_t epoch = env::epoch();
      if ((seen & tandem::sync::waiting_bit) == 0 &&
          !w.compare_exchange_strong(seen, seen | tandem::sync::waiting_bit)) {
        continue;
      }
      seen |= tandem::sync::waiting_bit;
      env::wait(w, seen, epoch, deadline);
      mine = me | tandem::sync::waiting_bit;
    }
  }
  static void unlock(env::word& w) { real_lock::unlock(w); }
};

struct guarded {
  env::word word;
  std::uint32_t inside = 0;  // who
  bool half_done = false;    // what it guards
};

template <class Lock>
void visit(guarded& g, tandem::clock::time_point deadline) {
  lock_end end = Lock::lock(g.word, deadline, lock_purpose::use);
  if (end == lock_end::late) return;
  if (end == lock_end::died) {
    end = Lock::lock(g.word, never, lock_purpose::repair);
    require(end == lock_end::taken, "a repair was refused");
    require(g.inside == 0 || env::killed(g.inside), "two are inside");
    g.half_done = false;
    g.inside = env::me();
  } else {
    require(end == lock_end::taken, "a lock that is free or another's was refused");
    require(g.inside == 0, "two are inside, or a death was not told");
    require(!g.half_done, "what a dead one left was not told");
    g.inside = env::me();
  }
  g.half_done = true;
  world::current().step();
  g.half_done = false;
  g.inside = 0;
  Lock::unlock(g.word);
}

template <class Lock>
world::found explore_lock(world::bounds bounds, int participants, int rounds,
                          tandem::clock::time_point deadline = never) {
  return world::explore(bounds, [=] {
    auto g = std::make_shared<guarded>();
    world::scenario s;
    for (int i = 0; i < participants; ++i) {
      s.bodies.push_back([g, rounds, deadline] {
        for (int r = 0; r < rounds; ++r) visit<Lock>(*g, deadline);
      });
    }
    s.audit = [g] { visit<Lock>(*g, never); };
    return s;
  });
}

TEST(explore, a_lock_excludes_and_wakes) { expect_sound(explore_lock<real_lock>({.preemptions = 3}, 2, 2)); }
TEST(explore, a_lock_of_three) { expect_sound(explore_lock<real_lock>({.preemptions = 2}, 3, 1)); }
TEST(explore, a_lock_whose_owner_or_waiter_dies) {
  expect_sound(explore_lock<real_lock>({.preemptions = 2, .deaths = 1}, 3, 1));
}
TEST(explore, a_lock_with_two_deaths) { expect_sound(explore_lock<real_lock>({.preemptions = 1, .deaths = 2}, 3, 1)); }
TEST(explore, a_lock_with_deadlines) {
  expect_sound(explore_lock<real_lock>({.preemptions = 2, .deaths = 1}, 3, 1, tandem::clock::time_point{}));
}

TEST(explore, a_lock_whose_waiters_look_again_before_they_sleep) {
  env::turns = 1;
  expect_sound(explore_lock<real_lock>({.preemptions = 3}, 2, 2));
  expect_sound(explore_lock<real_lock>({.preemptions = 2, .deaths = 1}, 3, 1));
  env::turns = 0;
}

TEST(explore, a_lock_without_waiting_bit_is_found_out) {
  const auto result = explore_lock<lock_without_waiting_bit>({.preemptions = 1}, 2, 1);
  EXPECT_EQ(result.failure, "one sleeps for ever");
}
TEST(explore, a_lock_blind_to_deaths_is_found_out) {
  const auto result = explore_lock<lock_blind_to_deaths>({.preemptions = 1, .deaths = 1}, 2, 1);
  EXPECT_NE(result.failure, "");
}

// ---- how a death is told ------------------------------------------------------------------------------------------

struct real_epoch {
  static bool watch(env::word& w, std::uint32_t epoch) { return tandem::sync::watch_epoch(w, epoch); }
};
// Says that it watches, and does not look whether the word has moved meanwhile.
struct epoch_watched_blindly {
  static bool watch(env::word& w, std::uint32_t) {
    w.fetch_or(tandem::sync::epoch_watched);
    return true;
  }
};

template <class Epoch>
world::found explore_epoch(world::bounds bounds, int waiters, int deaths) {
  return world::explore(bounds, [=] {
    struct line {
      env::word epoch;
      env::word dead;
    };
    auto l = std::make_shared<line>();
    world::scenario s;
    for (int i = 0; i < waiters; ++i) {
      s.bodies.push_back([=] {
        for (;;) {
          const std::uint32_t epoch = tandem::sync::read_epoch(l->epoch);
          if (l->dead.load() == static_cast<std::uint32_t>(deaths)) return;
          if (!Epoch::watch(l->epoch, epoch)) continue;
          const std::uint32_t expected =
              std::is_same_v<Epoch, real_epoch> ? epoch | tandem::sync::epoch_watched : l->epoch.load();
          env::wait(l->epoch, expected, 0, never);
        }
      });
    }
    for (int i = 0; i < deaths; ++i) {
      s.bodies.push_back([=] {
        l->dead.fetch_add(1);
        tandem::sync::move_epoch(l->epoch, [](env::word& w) { env::wake(w, tandem::sync::all_waiters); });
      });
    }
    return s;
  });
}

TEST(explore, a_death_is_told_to_all_who_wait) {
  expect_sound(explore_epoch<real_epoch>({.preemptions = 3}, 2, 1));
  expect_sound(explore_epoch<real_epoch>({.preemptions = 3}, 1, 2));
}
TEST(explore, an_epoch_that_is_watched_blindly_is_found_out) {
  EXPECT_EQ(explore_epoch<epoch_watched_blindly>({.preemptions = 2}, 1, 1).failure, "one sleeps for ever");
}

// ---- a condition --------------------------------------------------------------------------------------------------

struct talk {
  guarded lock;
  env::word condition;
  int permits = 0;
};

struct real_condition {
  static void notify_one(env::word& w) { tandem::sync::notify_one_waiter<env>(w); }
};
// Takes the bit away when nobody sleeps, and does not look again.
struct condition_that_forgets {
  static void notify_one(env::word& w) {
    if ((w.load() & 1) == 0) return;
    std::uint32_t after = w.fetch_add(2) + 2;
    if (env::wake(w, 1) > 0) return;
    w.compare_exchange_strong(after, after & ~1U);
  }
};

void take_lock(talk& t) {
  if (real_lock::lock(t.lock.word, never, lock_purpose::use) == lock_end::died)
    real_lock::lock(t.lock.word, never, lock_purpose::repair);
}

void await_permit(talk& t, std::uint32_t notifier) {
  take_lock(t);
  while (t.permits == 0 && env::alive(notifier)) {
    const std::uint32_t epoch = env::epoch();
    const std::uint32_t ticket = tandem::sync::take_ticket<env>(t.condition);
    // As the predicate, in the program: whatever died before the epoch was read is seen here.
    if (!env::alive(notifier)) break;
    real_lock::unlock(t.lock.word);
    tandem::sync::await_notification<env>(t.condition, ticket, epoch, never);
    take_lock(t);
  }
  if (t.permits > 0) --t.permits;
  real_lock::unlock(t.lock.word);
}

template <class Condition>
world::found explore_condition(world::bounds bounds, bool all) {
  return world::explore(bounds, [=] {
    auto t = std::make_shared<talk>();
    world::scenario s;
    for (int i = 0; i < 2; ++i) s.bodies.push_back([t] { await_permit(*t, 3); });
    s.bodies.push_back([t, all] {
      for (int i = 0; i < (all ? 1 : 2); ++i) {
        take_lock(*t);
        t->permits += all ? 2 : 1;
        real_lock::unlock(t->lock.word);
        if (all) {
          tandem::sync::notify_all_waiters<env>(t->condition);
        } else {
          Condition::notify_one(t->condition);
        }
      }
    });
    return s;
  });
}

TEST(explore, a_condition_loses_no_notification) {
  expect_sound(explore_condition<real_condition>({.preemptions = 2}, false));
}
TEST(explore, a_condition_that_wakes_all) { expect_sound(explore_condition<real_condition>({.preemptions = 2}, true)); }
TEST(explore, a_condition_with_a_death) {
  expect_sound(explore_condition<real_condition>({.preemptions = 1, .deaths = 1}, false));
  expect_sound(explore_condition<real_condition>({.preemptions = 1, .deaths = 1}, true));
}
TEST(explore, a_condition_that_forgets_is_found_out) {
  const auto result = explore_condition<condition_that_forgets>({.preemptions = 3, .most_runs = 200'000}, false);
  EXPECT_EQ(result.failure, "one sleeps for ever");
  std::printf("after %ld schedules\n", result.runs);
}

// ---- a semaphore with guards --------------------------------------------------------------------------------------

constexpr std::uint64_t object = 1;

void give_claims(std::uint32_t participants) {
  env::claims.assign(participants + 1, {});
  for (std::uint32_t id = 1; id <= participants; ++id) {
    env::claims[id].owner = id;
    env::claims[id].object = object;
  }
}

world::found explore_semaphore(world::bounds bounds, std::uint32_t participants, int rounds) {
  return world::explore(bounds, [=] {
    auto permits = std::make_shared<env::wide>(1);
    auto inside = std::make_shared<std::uint32_t>(0);
    give_claims(participants);
    world::scenario s;
    for (std::uint32_t i = 0; i < participants; ++i) {
      s.bodies.push_back([=] {
        const std::uint32_t me = env::me();
        for (int r = 0; r < rounds; ++r) {
          tandem::sync::acquire_until<env>(*permits, object, me, never);
          require(*inside == 0 || env::killed(*inside), "two hold one permit");
          *inside = me;
          world::current().step();
          *inside = 0;
          const std::uint32_t held = env::claims[me].state.load();
          tandem::sync::release_claimed<env>(*permits, me, held);
        }
      });
    }
    s.audit = [=] {
      tandem::sync::settle_shares<env>(*permits, object, tandem::sync::give_one{});
      require((tandem::sync::lower(permits->load()) & tandem::sync::share_number) == 1, "permits were lost or made");
    };
    return s;
  });
}

TEST(explore, a_semaphore_keeps_count) { expect_sound(explore_semaphore({.preemptions = 3}, 2, 2)); }
TEST(explore, a_semaphore_of_three) { expect_sound(explore_semaphore({.preemptions = 2}, 3, 1)); }
TEST(explore, a_semaphore_whose_waiters_look_again) {
  env::turns = 1;
  expect_sound(explore_semaphore({.preemptions = 2, .deaths = 1}, 2, 1));
  env::turns = 0;
}
TEST(explore, what_a_dead_guard_held_comes_back_once) {
  expect_sound(explore_semaphore({.preemptions = 2, .deaths = 1}, 2, 1));
  expect_sound(explore_semaphore({.preemptions = 3, .deaths = 1}, 2, 1));
  expect_sound(explore_semaphore({.preemptions = 2, .deaths = 1}, 3, 1));
  expect_sound(explore_semaphore({.preemptions = 1, .deaths = 2}, 3, 1));
}

// ---- readers and a writer -----------------------------------------------------------------------------------------

world::found explore_readers(world::bounds bounds, int readers, int writers = 1) {
  return world::explore(bounds, [=] {
    struct book {
      env::word word;
      env::wide readers;
      std::uint32_t writer = 0;
      int reading = 0;
      bool torn = false;
    };
    auto b = std::make_shared<book>();
    give_claims(static_cast<std::uint32_t>(readers + writers));
    using legacy = tandem::sync::leaves_it_died_if_inside<env>;
    const auto write = [b] {
      lock_end end = tandem::sync::lock_word_until<env>(b->word, never, lock_purpose::use, legacy{b->readers});
      if (end == lock_end::died) {
        end = tandem::sync::lock_word_until<env>(b->word, never, lock_purpose::repair);
        b->torn = false;
      }
      require(end == lock_end::taken, "a writer was refused");
      tandem::sync::enter_alone<env>(b->readers, object, never);
      require(!b->torn, "what a dead writer left was not told");
      b->torn = true;
      world::current().step();
      b->torn = false;
      tandem::sync::leave_alone<env>(b->readers);
      tandem::sync::unlock_word<env>(b->word, tandem::sync::all_waiters);
    };
    world::scenario s;
    for (int i = 0; i < readers; ++i) {
      s.bodies.push_back([b] {
        const std::uint32_t me = env::me();
        if (tandem::sync::lock_word_shared<env>(b->word, b->readers, me, never) != lock_end::taken) return;
        require(!b->torn, "a reader beside a writer");
        world::current().step();
        require(!b->torn, "a writer beside a reader");
        const std::uint32_t held = env::claims[me].state.load();
        const auto done = tandem::sync::give_share<env>(b->readers, me, held, tandem::sync::one_reader_fewer{});
        if ((done.before & tandem::sync::share_waiting) != 0)
          tandem::sync::wake_for_number<env>(b->readers, tandem::sync::all_waiters);
      });
    }
    for (int i = 0; i < writers; ++i) s.bodies.push_back(write);
    s.audit = write;
    return s;
  });
}

TEST(explore, readers_and_a_writer) { expect_sound(explore_readers({.preemptions = 3}, 2)); }
TEST(explore, a_reader_and_two_writers) { expect_sound(explore_readers({.preemptions = 2}, 1, 2)); }
TEST(explore, readers_and_a_writer_with_a_death) {
  expect_sound(explore_readers({.preemptions = 3, .deaths = 1}, 1));
  expect_sound(explore_readers({.preemptions = 2, .deaths = 1}, 2));
  expect_sound(explore_readers({.preemptions = 1, .deaths = 2}, 2));
  expect_sound(explore_readers({.preemptions = 1, .deaths = 1}, 1, 2));
}

// ---- a barrier ----------------------------------------------------------------------------------------------------

// `leaving`: so many of the parties drop out at their first arrival.
world::found explore_barrier(world::bounds bounds, std::uint32_t parties, int rounds, std::uint32_t leaving = 0) {
  return world::explore(bounds, [=] {
    using tandem::sync::barrier_end;
    auto word = std::make_shared<env::wide>(tandem::sync::barrier_word(parties, parties, 0));
    auto arrived = std::make_shared<std::vector<int>>(parties, 0);
    give_claims(parties);
    for (std::uint32_t id = 1; id <= parties; ++id)
      env::claims[id].state = static_cast<std::uint32_t>(tandem::sync::claim_step::attached);
    world::scenario s;
    for (std::uint32_t i = 0; i < parties; ++i) {
      s.bodies.push_back([=] {
        if (i < leaving) {
          (*arrived)[i] = rounds;
          tandem::sync::arrive<env>(*word, object, tandem::sync::arrival::leaves);
          env::claims[i + 1].state = static_cast<std::uint32_t>(tandem::sync::claim_step::idle);
          return;
        }
        for (int r = 1; r <= rounds; ++r) {
          (*arrived)[i] = r;
          if (tandem::sync::arrive<env>(*word, object, tandem::sync::arrival::stays) == barrier_end::broken) {
            bool somebody_died = false;
            for (std::uint32_t id = 1; id <= parties; ++id) somebody_died |= env::killed(id);
            require(somebody_died, "broken for nothing");
            return;
          }
          for (const int others : *arrived) require(others >= r, "passed before all had come");
        }
      });
    }
    return s;
  });
}

TEST(explore, a_barrier_keeps_step) {
  expect_sound(explore_barrier({.preemptions = 3}, 2, 3));
  expect_sound(explore_barrier({.preemptions = 3}, 3, 2));
}
TEST(explore, a_barrier_that_a_party_leaves) {
  expect_sound(explore_barrier({.preemptions = 3}, 2, 2, 1));
  expect_sound(explore_barrier({.preemptions = 2}, 3, 2, 1));
  expect_sound(explore_barrier({.preemptions = 1, .deaths = 1}, 3, 2, 1));
}
TEST(explore, a_barrier_breaks_when_a_party_dies) {
  expect_sound(explore_barrier({.preemptions = 3, .deaths = 1}, 2, 2));
  expect_sound(explore_barrier({.preemptions = 2, .deaths = 1}, 3, 2));
  expect_sound(explore_barrier({.preemptions = 1, .deaths = 2}, 3, 2));
}

// One waits, or is about to, when the barrier is reset; then others come. Who is told that its phase was not passed comes
// again; so all pass, two by two, unless the one is told wrongly that it has passed: then another stays alone.
world::found explore_reset(world::bounds bounds, int others) {
  return world::explore(bounds, [=] {
    using tandem::sync::barrier_end;
    auto word = std::make_shared<env::wide>(tandem::sync::barrier_word(2, 2, 0));
    auto was_reset = std::make_shared<env::word>();
    give_claims(static_cast<std::uint32_t>(others) + 2);
    const auto pass = [=] {
      int broken = 0;
      while (tandem::sync::arrive<env>(*word, object, tandem::sync::arrival::stays) == barrier_end::broken) ++broken;
      require(broken <= 1, "broken for nothing");
    };
    world::scenario s;
    s.bodies.push_back(pass);
    s.bodies.push_back([=] {
      tandem::sync::reset_barrier<env>(*word, object);
      was_reset->store(1);
      env::wake(*was_reset, tandem::sync::all_waiters);
    });
    for (int i = 0; i < others; ++i) {
      s.bodies.push_back([=] {
        while (was_reset->load() == 0) env::wait(*was_reset, 0, env::epoch(), never);
        pass();
      });
    }
    return s;
  });
}

TEST(explore, a_barrier_that_is_reset_while_one_waits) {
  expect_sound(explore_reset({.preemptions = 3}, 1));
  expect_sound(explore_reset({.preemptions = 1}, 3));
}

TEST(barrier_word, tells_how_each_phase_has_ended) {
  using namespace tandem::sync;
  std::uint32_t random = 1;
  for (int run = 0; run < 2000; ++run) {
    std::uint64_t word = barrier_word(2, 2, static_cast<std::uint32_t>(run) * 0x9E37'79B9U & ~(one_phase - 1));
    const std::uint32_t then = lower(word);
    random = random * 1'664'525U + 1'013'904'223U;
    const bool passed = (random >> 16) % 2 == 0;
    word = barrier_word(2, 2, passed ? after_pass(word) : after_reset(word));
    EXPECT_EQ(was_passed(lower(word), then), passed);
    // One that has passed is missing, so only resets follow; one whose phase was reset sees anything.
    const std::uint32_t more = (random >> 20) % 50;
    for (std::uint32_t i = 0; i < more; ++i) {
      random = random * 1'664'525U + 1'013'904'223U;
      const bool by_reset = passed ? i < 6 : (random >> 16) % 3 == 0;
      if (passed && !by_reset) break;
      word = barrier_word(2, 2, by_reset ? after_reset(word) : after_pass(word));
      EXPECT_EQ(was_passed(lower(word), then), passed) << more << ' ' << i;
    }
  }
  // Pairs of many that meet at a barrier for two: passed, however slow one of the first is.
  std::uint64_t word = barrier_word(2, 2, 0);
  for (int i = 0; i < 5000; ++i) {
    word = barrier_word(2, 2, after_pass(word));
    EXPECT_TRUE(was_passed(lower(word), 0));
  }
  word = barrier_word(2, 2, 0);
  for (int i = 0; i < 5000; ++i) {
    word = barrier_word(2, 2, after_reset(word));
    EXPECT_FALSE(was_passed(lower(word), 0));
    EXPECT_FALSE(same_phase(lower(word), 0));
  }
}

// ---- an event -----------------------------------------------------------------------------------------------------

world::found explore_event(world::bounds bounds, int waiters) {
  return world::explore(bounds, [=] {
    auto word = std::make_shared<env::word>();
    world::scenario s;
    for (int i = 0; i < waiters; ++i) {
      s.bodies.push_back([=] { require(tandem::sync::await_event<env>(*word, never), "late without a deadline"); });
    }
    s.bodies.push_back([=] {
      tandem::sync::set_event<env>(*word);
      word->fetch_and(~tandem::sync::event_set);
      tandem::sync::set_event<env>(*word);
    });
    return s;
  });
}

TEST(explore, an_event_that_is_set_and_reset_and_set) {
  expect_sound(explore_event({.preemptions = 4}, 1));
  expect_sound(explore_event({.preemptions = 3}, 2));
}

}  // namespace
