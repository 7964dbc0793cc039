// Readers and writers, semaphores, events, barriers, latches, once: between threads and between processes.
#include <unistd.h>

#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

#include <tandem/sync.hpp>

#include "support/fixture.hpp"
#include "sync/claims.hpp"
#include "sync/mapped.hpp"

namespace {

using namespace std::chrono_literals;
using tandem::file_descriptor;
using tandem::test::eventually;
using tandem::test::mapped;

template <class Unit>
class waits : public tandem::test::checked {};
TYPED_TEST_SUITE(waits, tandem::test::both, tandem::test::unit_names);
class wait_rules : public tandem::test::checked {};

template <class Code>
std::errc code_of(Code code) {
  try {
    code();
  } catch (const std::system_error& e) {
    return static_cast<std::errc>(e.code().value());
  }
  return std::errc{};
}

// So many units that run `f` with the same memory.
template <class Unit, class F>
auto start_all(int count, F f, const file_descriptor& file) {
  std::vector<decltype(Unit::start(f, file))> all;
  for (int i = 0; i < count; ++i) all.push_back(Unit::start(f, file));
  return all;
}

// ---- readers and writers ------------------------------------------------------------------------------------------

struct library {
  tandem::shared_mutex mutex = {};
  long a = 0;
  long b = 0;  // the same, while nobody writes
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
};

TYPED_TEST(waits, readers_see_no_half_of_a_write) {
  const mapped<library> shared(std::in_place);
  auto all = start_all<TypeParam>(
      4,
      [](const file_descriptor& file) {
        const mapped<library> l(file);
        for (int i = 0; i < 4000; ++i) {
          if (i % 4 == 0) {
            const std::unique_lock lock(l->mutex);
            ++l->a;
            ++l->b;
          } else {
            const std::shared_lock lock(l->mutex);
            if (l->a != l->b) return false;
          }
        }
        return true;
      },
      shared.file());
  for (auto& u : all) EXPECT_TRUE(u.get());
  EXPECT_EQ(shared->a, 4000);
}

TYPED_TEST(waits, readers_are_there_together) {
  const mapped<library> shared(std::in_place);
  auto all = start_all<TypeParam>(
      3,
      [](const file_descriptor& file) {
        const mapped<library> l(file);
        const std::shared_lock lock(l->mutex);
        ++l->inside;
        while (l->inside != 3) std::this_thread::yield();
      },
      shared.file());
  for (auto& u : all) u.get();
  EXPECT_TRUE(shared->mutex.try_lock());
  auto u = TypeParam::start(
      [](const file_descriptor& file) {
        const mapped<library> l(file);
        return l->mutex.try_lock_shared() || l->mutex.try_lock_shared_for(5ms) || l->mutex.try_lock() ||
               l->mutex.try_lock_for(5ms);
      },
      shared.file());
  EXPECT_FALSE(u.get());
  shared->mutex.unlock();
}

TEST_F(wait_rules, a_lock_to_read_is_given_back_once_by_its_reader) {
  tandem::shared_mutex m;
  EXPECT_EQ(code_of([&] { m.unlock_shared(); }), std::errc::operation_not_permitted);
  m.lock_shared();
  m.lock_shared();
  EXPECT_FALSE(m.try_lock());
  EXPECT_FALSE(m.try_lock_for(1ms));
  EXPECT_EQ(code_of([&] { m.unlock(); }), std::errc::operation_not_permitted);
  std::thread([&] { EXPECT_EQ(code_of([&] { m.unlock_shared(); }), std::errc::operation_not_permitted); }).join();
  m.unlock_shared();
  EXPECT_FALSE(m.try_lock());
  m.unlock_shared();
  EXPECT_EQ(code_of([&] { m.unlock_shared(); }), std::errc::operation_not_permitted);
  const std::unique_lock lock(m);
  EXPECT_EQ(code_of([&] { m.lock_shared(); }), std::errc::resource_deadlock_would_occur);
}

TEST_F(wait_rules, many_locks_to_read_are_held_at_once) {
  std::array<tandem::shared_mutex, 20> many;
  for (auto& m : many) m.lock_shared();
  for (auto& m : many) EXPECT_FALSE(m.try_lock());
  for (auto& m : many) m.unlock_shared();
  for (auto& m : many) {
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  }
}

TEST_F(wait_rules, a_writer_that_ends_inside_is_told_to_readers_and_writers) {
  tandem::shared_mutex m;
  std::thread([&] { m.lock(); }).join();
  EXPECT_THROW(m.lock_shared(), tandem::owner_died);
  EXPECT_THROW(m.try_lock_shared(), tandem::owner_died);
  EXPECT_THROW(m.lock(), tandem::owner_died);
  EXPECT_THROW(m.lock_and_repair([] { throw 1; }), int);
  EXPECT_THROW(m.try_lock_shared_for(1ms), tandem::owner_died);
  m.lock_and_repair([] {});
  m.lock_shared();
  m.unlock_shared();
}

TEST_F(wait_rules, a_reader_that_ends_inside_is_forgotten) {
  tandem::shared_mutex m;
  std::thread([&] {
    m.lock_shared();
    m.lock_shared();
  }).join();
  EXPECT_TRUE(m.try_lock_for(20s));
  m.unlock();
}

// ---- semaphores ---------------------------------------------------------------------------------------------------

struct permits {
  tandem::counting_semaphore<> all{0};
  tandem::binary_semaphore one{1};
  std::atomic<int> holding{0};
  std::atomic<int> most{0};
  std::atomic<int> taken{0};
};

TYPED_TEST(waits, a_semaphore_counts) {
  const mapped<permits> shared(std::in_place);
  auto u = TypeParam::start(
      [](const file_descriptor& file) {
        const mapped<permits> p(file);
        p->all.release(2);
        const bool two = p->all.try_acquire() && p->all.try_acquire();
        const bool no_third = !p->all.try_acquire() && !p->all.try_acquire_for(5ms) && !p->all.try_acquire_for(-1s);
        p->all.release(4);
        return two && no_third;
      },
      shared.file());
  EXPECT_TRUE(u.get());
  for (int i = 0; i < 4; ++i) shared->all.acquire();
  EXPECT_FALSE(shared->all.try_acquire());
}

TYPED_TEST(waits, no_more_are_inside_than_there_are_permits) {
  const mapped<permits> shared(std::in_place);
  shared->all.release(2);
  auto all = start_all<TypeParam>(
      4,
      [](const file_descriptor& file) {
        const mapped<permits> p(file);
        for (int i = 0; i < 3000; ++i) {
          const auto count = [&] {
            const int now = ++p->holding;
            int most = p->most;
            while (most < now && !p->most.compare_exchange_weak(most, now)) {
            }
            --p->holding;
          };
          if (i % 2 == 0) {
            const tandem::counting_semaphore<>::guard guard(p->all);
            count();
          } else {
            p->all.acquire();
            count();
            p->all.release();
          }
        }
      },
      shared.file());
  for (auto& u : all) u.get();
  EXPECT_LE(shared->most, 2);
  EXPECT_TRUE(shared->all.try_acquire());
  EXPECT_TRUE(shared->all.try_acquire());
  EXPECT_FALSE(shared->all.try_acquire());
}

TYPED_TEST(waits, each_permit_lets_one_waiter_go) {
  const mapped<permits> shared(std::in_place);
  auto all = start_all<TypeParam>(
      6,
      [](const file_descriptor& file) {
        const mapped<permits> p(file);
        p->all.acquire();
        ++p->taken;
      },
      shared.file());
  for (const int n : {1, 2, 3}) {
    const int expected = shared->taken + n;
    shared->all.release(n);
    EXPECT_TRUE(eventually([&] { return shared->taken == expected; }));
  }
  for (auto& u : all) u.get();
}

TEST_F(wait_rules, a_semaphore_has_bounds) {
  tandem::binary_semaphore one(1);
  EXPECT_THROW(one.release(), std::invalid_argument);
  one.acquire();
  EXPECT_THROW(one.release(2), std::invalid_argument);
  EXPECT_THROW(one.release(-1), std::invalid_argument);
  one.release();
  EXPECT_TRUE(one.try_acquire());
  EXPECT_THROW(tandem::counting_semaphore<>(-1), std::invalid_argument);
  EXPECT_THROW(tandem::counting_semaphore<3>(4), std::invalid_argument);
  static_assert(tandem::counting_semaphore<3>::max() == 3);
}

TEST_F(wait_rules, what_a_guard_holds_comes_back_when_its_thread_ends) {
  tandem::counting_semaphore<> s(2);
  alignas(tandem::counting_semaphore<>::guard) std::array<std::byte, sizeof(tandem::counting_semaphore<>::guard)> room;
  tandem::counting_semaphore<>::guard* left = nullptr;
  std::thread([&] {
    s.acquire();
    left = new (room.data()) tandem::counting_semaphore<>::guard(s);
  }).join();
  EXPECT_TRUE(s.try_acquire());   // the guard's
  EXPECT_FALSE(s.try_acquire());  // the other was not guarded
  left->~guard();                 // has nothing to give any more
  EXPECT_FALSE(s.try_acquire());
}

// ---- events -------------------------------------------------------------------------------------------------------

struct signals {
  tandem::event event = {};
  std::atomic<int> before{0};
  std::atomic<int> after{0};
  tandem::event done = {};
};

TYPED_TEST(waits, an_event_lets_all_go) {
  const mapped<signals> shared(std::in_place);
  EXPECT_FALSE(shared->event.is_set());
  EXPECT_FALSE(shared->event.wait_for(0s));
  EXPECT_FALSE(shared->event.wait_for(5ms));
  auto all = start_all<TypeParam>(
      5,
      [](const file_descriptor& file) {
        const mapped<signals> s(file);
        ++s->before;
        s->event.wait();
        ++s->after;
        return s->event.wait_for(-1s);
      },
      shared.file());
  EXPECT_TRUE(eventually([&] { return shared->before == 5; }));
  EXPECT_EQ(shared->after, 0);
  shared->event.set();
  for (auto& u : all) EXPECT_TRUE(u.get());
  shared->event.set();
  EXPECT_TRUE(shared->event.is_set());
  shared->event.reset();
  EXPECT_FALSE(shared->event.is_set());
  EXPECT_FALSE(shared->event.wait_for(0s));
}

TEST_F(wait_rules, who_waits_goes_on_though_the_event_is_reset_at_once) {
  tandem::event e;
  for (int i = 0; i < 200; ++i) {
    std::atomic<bool> gone{false};
    std::thread waiter([&] {
      e.wait();
      gone = true;
    });
    while (!gone) {
      e.set();
      e.reset();
    }
    waiter.join();
  }
}

// ---- barriers -----------------------------------------------------------------------------------------------------

struct meeting {
  tandem::barrier barrier{5};
  std::array<std::atomic<int>, 5> rounds = {};
  std::atomic<int> next{0};
  std::atomic<int> broken{0};
};

TYPED_TEST(waits, a_barrier_keeps_step_a_thousand_times) {
  const mapped<meeting> shared(std::in_place);
  auto all = start_all<TypeParam>(
      5,
      [](const file_descriptor& file) {
        const mapped<meeting> m(file);
        const auto mine = static_cast<std::size_t>(m->next++);
        for (int i = 1; i <= 1000; ++i) {
          m->rounds[mine] = i;
          m->barrier.arrive_and_wait();
          for (const auto& other : m->rounds) {
            if (other < i || other > i + 1) return false;
          }
        }
        return true;
      },
      shared.file());
  for (auto& u : all) EXPECT_TRUE(u.get());
  EXPECT_FALSE(shared->barrier.broken());
}

TYPED_TEST(waits, a_reset_sends_those_away_who_wait) {
  const mapped<meeting> shared(std::in_place);
  const auto meet = [](const file_descriptor& file) {
    const mapped<meeting> m(file);
    ++m->next;
    try {
      m->barrier.arrive_and_wait();
    } catch (const tandem::broken_barrier&) {
      return true;
    }
    return false;
  };
  auto all = start_all<TypeParam>(4, meet, shared.file());
  EXPECT_TRUE(eventually([&] { return shared->next == 4; }));
  std::size_t left = all.size();
  while (left != 0) {  // one that had not arrived at the first reset waits for the next
    shared->barrier.reset();
    left = static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [](auto& u) { return u.running(); }));
  }
  for (auto& u : all) EXPECT_TRUE(u.get());
  EXPECT_FALSE(shared->barrier.broken());
  auto again = start_all<TypeParam>(5, meet, shared.file());
  for (auto& u : again) EXPECT_FALSE(u.get());
}

TEST_F(wait_rules, who_drops_out_is_not_waited_for) {
  tandem::barrier b(3);
  b.arrive_and_drop();
  for (int i = 0; i < 10; ++i) {
    std::thread other([&] { b.arrive_and_wait(); });
    b.arrive_and_wait();
    other.join();
  }
  std::thread([&] { b.arrive_and_drop(); }).join();
  b.arrive_and_wait();
  b.arrive_and_wait();
}

TEST_F(wait_rules, a_barrier_of_one_waits_for_nobody) {
  tandem::barrier b(1);
  for (int i = 0; i < 100; ++i) b.arrive_and_wait();
  EXPECT_THROW(tandem::barrier(0), std::invalid_argument);
  EXPECT_THROW(tandem::barrier(-1), std::invalid_argument);
  EXPECT_THROW(tandem::barrier(1 << 20), std::invalid_argument);
}

TEST_F(wait_rules, a_party_that_ends_in_order_breaks_nothing) {
  tandem::barrier b(2);
  std::thread first([&] { b.arrive_and_wait(); });
  b.arrive_and_wait();
  first.join();
  std::thread second([&] { b.arrive_and_wait(); });
  b.arrive_and_wait();
  second.join();
  EXPECT_FALSE(b.broken());
}

// ---- latches and once ---------------------------------------------------------------------------------------------

struct beginnings {
  tandem::latch latch{3};
  tandem::once_flag once = {};
  std::atomic<int> calls{0};
  std::atomic<int> passed{0};
};

TYPED_TEST(waits, a_latch_opens_once) {
  const mapped<beginnings> shared(std::in_place);
  auto all = start_all<TypeParam>(
      2,
      [](const file_descriptor& file) {
        const mapped<beginnings> b(file);
        b->latch.arrive_and_wait();
        ++b->passed;
      },
      shared.file());
  EXPECT_FALSE(shared->latch.try_wait());
  EXPECT_EQ(shared->passed, 0);
  shared->latch.count_down();
  for (auto& u : all) u.get();
  EXPECT_TRUE(shared->latch.try_wait());
  shared->latch.wait();
  EXPECT_THROW(shared->latch.count_down(), std::invalid_argument);
  EXPECT_THROW(tandem::latch(-1), std::invalid_argument);
}

TYPED_TEST(waits, one_of_many_calls_once) {
  const mapped<beginnings> shared(std::in_place);
  auto all = start_all<TypeParam>(
      6,
      [](const file_descriptor& file) {
        const mapped<beginnings> b(file);
        tandem::call_once(
            b->once, [&](int n) { b->calls += n; }, 1);
        return b->calls == 1;
      },
      shared.file());
  for (auto& u : all) EXPECT_TRUE(u.get());
}

TEST_F(wait_rules, a_call_that_throws_is_none) {
  tandem::once_flag flag;
  int calls = 0;
  EXPECT_THROW(tandem::call_once(flag, [] { throw 7; }), int);
  EXPECT_EQ(code_of([&] { tandem::call_once(flag, [&] { tandem::call_once(flag, [&] { ++calls; }); }); }),
            std::errc::resource_deadlock_would_occur);
  for (int i = 0; i < 3; ++i) tandem::call_once(flag, [&] { ++calls; });
  EXPECT_EQ(calls, 1);
}

TEST_F(wait_rules, a_copy_of_the_program_owes_a_latch_a_count) {
  for (const bool pays : {false, true}) {
    const tandem::shared<tandem::latch> l(2);
    const tandem::shared<tandem::event> is_there;
    tandem::process copy(tandem::fork_options{.allow_threads = true}, [&] {
      if (pays) l->count_down();
      is_there->set();
      for (;;) ::pause();
    });
    is_there->wait();
    copy.kill();
    copy.join();
    if (pays) {
      l->count_down();
      l->wait();
    } else {
      EXPECT_THROW(l->wait(), tandem::broken_barrier);
    }
  }
}

// ---- who takes part, and no longer ------------------------------------------------------------------------------------

int claims_in_use() {
  const tandem::sync::session_page& p = tandem::sync::session();
  int count = 0;
  for (const auto& c : p.claims) count += c.owner.load() != 0 ? 1 : 0;
  return count;
}

TEST_F(wait_rules, a_barrier_that_is_gone_has_no_parties) {
  const int before = claims_in_use();
  for (int i = 0; i < 50; ++i) {
    tandem::barrier b(1);
    b.arrive_and_wait();
    const tandem::shared<tandem::barrier> in_shared_memory(1);
    in_shared_memory->arrive_and_wait();
    const tandem::queue<int> q(1);
    q.push(1);
  }
  EXPECT_EQ(claims_in_use(), before);
}

TEST_F(wait_rules, a_worker_lets_go_of_what_it_was_handed) {
  tandem::process_pool pool(1);
  const auto answer = [](const tandem::queue<int>& q, const tandem::shared<tandem::barrier>& b) {
    q.push(1);
    b->arrive_and_wait();
  };
  const auto ask = [&] {
    const tandem::queue<int> q(1);
    pool.submit(answer, q, tandem::shared<tandem::barrier>(1)).get();
    EXPECT_EQ(q.pop(), 1);
  };
  ask();
  const int before = claims_in_use();
  for (int i = 0; i < 20; ++i) ask();
  // The future is ready before the last arguments are gone.
  EXPECT_LE(claims_in_use(), before + 4);
}

TEST_F(wait_rules, claims_of_the_killed_are_used_again) {
  const tandem::shared<std::atomic<std::uint32_t>> id(0U);
  const tandem::shared<tandem::event> is_there;
  tandem::process killed(
      [](const tandem::shared<std::atomic<std::uint32_t>>& own, const tandem::shared<tandem::event>& e) {
        *own = tandem::sync::enroll_process();
        e->set();
        for (;;) ::pause();
      },
      id, is_there);
  is_there->wait();
  killed.kill();
  killed.join();
  // As if it had been many, each of which was handed memory.
  tandem::sync::session_page& p = tandem::sync::session();
  constexpr std::uint64_t memory = ~std::uint64_t{0};
  for (std::uint32_t i = 0; i < tandem::sync::claim_count + 1000; ++i) {
    const std::uint32_t claim = tandem::sync::take_claim_for(*id, memory);
    p.claims[claim].state = tandem::sync::next_use(p.claims[claim].state, tandem::sync::claim_step::attached);
  }
  tandem::shared_mutex book;
  book.lock_shared();
  book.unlock_shared();
  const tandem::queue<int> q(1);
  q.push(1);
  for (std::uint32_t i = 1; i < tandem::sync::claim_count; ++i) {
    if (p.claims[i].object == memory) tandem::sync::free_claim(i);
  }
}

}  // namespace
