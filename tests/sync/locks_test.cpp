// Locks and conditions, between threads and between processes: one suite for both.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <tandem/condition_variable.hpp>
#include <tandem/mutex.hpp>

#include "support/fixture.hpp"
#include "sync/mapped.hpp"

namespace {

using namespace std::chrono_literals;
using tandem::file_descriptor;
using tandem::test::eventually;
using tandem::test::mapped;

template <class Unit>
class locks : public tandem::test::checked {};
TYPED_TEST_SUITE(locks, tandem::test::both, tandem::test::unit_names);
class lock_rules : public tandem::test::checked {};

template <class M>
struct counted {
  M mutex = {};
  long value = 0;  // guarded by it
  std::atomic<int> ready{0};
  std::atomic<int> go{0};
};

template <class Code>
std::errc code_of(Code code) {
  try {
    code();
  } catch (const std::system_error& e) {
    return static_cast<std::errc>(e.code().value());
  }
  return std::errc{};
}

template <class M>
void count_up(const file_descriptor& file, int times) {
  const mapped<counted<M>> shared(file);
  for (int i = 0; i < times; ++i) {
    const std::lock_guard lock(shared->mutex);
    shared->value = shared->value + 1;
  }
}

template <class Unit, class M>
void exclude_each_other() {
  constexpr int units = 4;
  constexpr int times = 20'000;
  const mapped<counted<M>> shared(std::in_place);
  std::vector<decltype(Unit::start(count_up<M>, shared.file(), times))> all;
  for (int i = 0; i < units; ++i) all.push_back(Unit::start(count_up<M>, shared.file(), times));
  for (auto& u : all) u.get();
  EXPECT_EQ(shared->value, units * times);
}

TYPED_TEST(locks, exclude_each_other) {
  exclude_each_other<TypeParam, tandem::mutex>();
  exclude_each_other<TypeParam, tandem::timed_mutex>();
  exclude_each_other<TypeParam, tandem::recursive_mutex>();
}

TYPED_TEST(locks, are_refused_while_another_has_them) {
  const mapped<counted<tandem::timed_mutex>> shared(std::in_place);
  const std::lock_guard lock(shared->mutex);
  auto u = TypeParam::start(
      [](const file_descriptor& file) {
        const mapped<counted<tandem::timed_mutex>> m(file);
        const auto start = std::chrono::steady_clock::now();
        const bool tried = m->mutex.try_lock() || m->mutex.try_lock_for(-1s) || m->mutex.try_lock_for(20ms);
        return !tried && std::chrono::steady_clock::now() - start >= 20ms;
      },
      shared.file());
  EXPECT_TRUE(u.get());
}

TYPED_TEST(locks, only_their_owner_gives_them_back) {
  const mapped<counted<tandem::recursive_mutex>> shared(std::in_place);
  const std::lock_guard lock(shared->mutex);
  auto u = TypeParam::start(
      [](const file_descriptor& file) {
        const mapped<counted<tandem::recursive_mutex>> m(file);
        return static_cast<int>(code_of([&] { m->mutex.unlock(); }));
      },
      shared.file());
  EXPECT_EQ(u.get(), static_cast<int>(std::errc::operation_not_permitted));
}

TEST_F(lock_rules, a_free_lock_cannot_be_given_back) {
  tandem::mutex m;
  EXPECT_EQ(code_of([&] { m.unlock(); }), std::errc::operation_not_permitted);
  m.lock();
  m.unlock();
  EXPECT_EQ(code_of([&] { m.unlock(); }), std::errc::operation_not_permitted);
}

TEST_F(lock_rules, an_owner_would_wait_for_itself) {
  tandem::timed_mutex m;
  const std::lock_guard lock(m);
  EXPECT_EQ(code_of([&] { m.lock(); }), std::errc::resource_deadlock_would_occur);
  EXPECT_EQ(code_of([&] { m.try_lock_for(1ms); }), std::errc::resource_deadlock_would_occur);
  EXPECT_FALSE(m.try_lock());
}

TEST_F(lock_rules, a_recursive_lock_is_given_back_as_often_as_it_was_taken) {
  tandem::recursive_mutex m;
  for (int i = 0; i < 3; ++i) m.lock();
  EXPECT_TRUE(m.try_lock());
  EXPECT_TRUE(m.try_lock_for(1ms));
  for (int i = 0; i < 5; ++i) {
    std::thread([&] { EXPECT_FALSE(m.try_lock()); }).join();
    m.unlock();
  }
  std::thread([&] {
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  }).join();
  EXPECT_EQ(code_of([&] { m.unlock(); }), std::errc::operation_not_permitted);
}

TEST_F(lock_rules, work_with_the_guards_of_the_standard_library) {
  tandem::mutex a;
  tandem::timed_mutex b;
  {
    const std::scoped_lock both(a, b);
    EXPECT_EQ(code_of([&] { a.lock(); }), std::errc::resource_deadlock_would_occur);
  }
  std::unique_lock lock(b, 10ms);
  EXPECT_TRUE(lock.owns_lock());
  static_assert(sizeof(tandem::mutex) == 4);
}

// ---- a thread that ends while it holds a lock ---------------------------------------------------------------------

TYPED_TEST(locks, an_owner_that_ends_with_the_lock_is_a_dead_owner) {
  const mapped<counted<tandem::mutex>> shared(std::in_place);
  auto owner = TypeParam::start([](const file_descriptor& file) { mapped<counted<tandem::mutex>>(file)->mutex.lock(); },
                                shared.file());
  owner.get();
  for (int i = 0; i < 2; ++i) {
    EXPECT_THROW(shared->mutex.lock(), tandem::owner_died);
    EXPECT_THROW(shared->mutex.try_lock(), tandem::owner_died);
  }
  EXPECT_THROW(shared->mutex.lock_and_repair([] { throw std::runtime_error("cannot"); }), std::runtime_error);
  EXPECT_THROW(shared->mutex.lock(), tandem::owner_died);
  int repaired = 0;
  shared->mutex.lock_and_repair([&] { repaired = 1; });
  EXPECT_EQ(repaired, 1);
  EXPECT_TRUE(shared->mutex.try_lock());
  shared->mutex.unlock();
}

TYPED_TEST(locks, an_owner_that_ends_wakes_those_who_wait) {
  const mapped<counted<tandem::mutex>> shared(std::in_place);
  auto owner = TypeParam::start(
      [](const file_descriptor& file) {
        const mapped<counted<tandem::mutex>> m(file);
        m->mutex.lock();
        m->ready = 1;
        while (m->go == 0) std::this_thread::yield();
      },
      shared.file());
  while (shared->ready == 0) std::this_thread::yield();
  auto waiter = TypeParam::start(
      [](const file_descriptor& file) {
        const mapped<counted<tandem::mutex>> m(file);
        m->ready = 2;
        try {
          m->mutex.lock();
        } catch (const tandem::owner_died&) {
          return true;
        }
        return false;
      },
      shared.file());
  while (shared->ready != 2) std::this_thread::yield();
  shared->go = 1;
  EXPECT_TRUE(waiter.get());
  owner.join();
}

TEST_F(lock_rules, a_recursive_lock_is_repaired_whatever_its_owner_had) {
  tandem::recursive_mutex m;
  std::thread([&] {
    m.lock();
    m.lock();
  }).join();
  EXPECT_THROW(m.lock(), tandem::owner_died);
  m.lock_and_repair([&] {
    m.lock();
    m.unlock();
  });
  m.lock();
  m.unlock();
  EXPECT_EQ(code_of([&] { m.unlock(); }), std::errc::operation_not_permitted);
}

TEST_F(lock_rules, many_threads_one_after_the_other_need_one_place) {
  tandem::mutex m;
  int turns = 0;
  for (int i = 0; i < 3000; ++i) {
    std::thread([&] {
      const std::lock_guard lock(m);
      ++turns;
    }).join();
  }
  EXPECT_EQ(turns, 3000);
}

// ---- conditions ---------------------------------------------------------------------------------------------------

struct conversation {
  tandem::mutex mutex = {};
  tandem::condition_variable changed = {};
  int turn = 0;
  int waiting = 0;
  int woken = 0;
  int permits = 0;
};

TYPED_TEST(locks, conditions_hand_over) {
  constexpr int rounds = 2000;
  const mapped<conversation> shared(std::in_place);
  auto other = TypeParam::start(
      [](const file_descriptor& file) {
        const mapped<conversation> c(file);
        for (int i = 0; i < rounds; ++i) {
          std::unique_lock lock(c->mutex);
          c->changed.wait(lock, [&] { return c->turn == 1; });
          c->turn = 0;
          c->changed.notify_one();
        }
      },
      shared.file());
  for (int i = 0; i < rounds; ++i) {
    std::unique_lock lock(shared->mutex);
    shared->changed.wait(lock, [&] { return shared->turn == 0; });
    shared->turn = 1;
    shared->changed.notify_one();
  }
  other.get();
  EXPECT_EQ(shared->turn, 0);
}

void take_a_permit(const file_descriptor& file) {
  const mapped<conversation> c(file);
  std::unique_lock lock(c->mutex);
  ++c->waiting;
  c->changed.wait(lock, [&] { return c->permits > 0; });
  --c->permits;
  --c->waiting;
  ++c->woken;
}

// Each of them counts itself under the lock before it waits.
bool all_wait(conversation& c, int count) {
  return eventually([&] {
    const std::lock_guard lock(c.mutex);
    return c.waiting == count;
  });
}

TYPED_TEST(locks, notify_as_many_as_there_are_permits) {
  const mapped<conversation> shared(std::in_place);
  std::vector<decltype(TypeParam::start(take_a_permit, shared.file()))> all;
  for (int i = 0; i < 6; ++i) all.push_back(TypeParam::start(take_a_permit, shared.file()));
  ASSERT_TRUE(all_wait(*shared, 6));
  for (const int n : {1, 2, 3}) {
    int expected = 0;
    {
      const std::lock_guard lock(shared->mutex);
      shared->permits += n;
      expected = shared->woken + n;
    }
    if (n < 3) {
      for (int i = 0; i < n; ++i) shared->changed.notify_one();
    } else {
      shared->changed.notify_all();
    }
    EXPECT_TRUE(eventually([&] {
      const std::lock_guard lock(shared->mutex);
      return shared->woken == expected;
    }));
  }
  for (auto& u : all) u.get();
  EXPECT_EQ(shared->waiting, 0);
}

TYPED_TEST(locks, conditions_wait_as_long_as_they_are_told) {
  const mapped<conversation> shared(std::in_place);
  auto u = TypeParam::start(
      [](const file_descriptor& file) {
        const mapped<conversation> c(file);
        std::unique_lock lock(c->mutex);
        const auto start = tandem::clock::now();
        const bool timed_out = !c->changed.wait_for(lock, 20ms, [] { return false; }) &&
                               !c->changed.wait_until(lock, start + 20ms, [] { return false; }) &&
                               c->changed.wait_for(lock, -1s) == std::cv_status::timeout;
        return timed_out && lock.owns_lock() && tandem::clock::now() - start >= 20ms;
      },
      shared.file());
  EXPECT_TRUE(u.get());
  std::unique_lock lock(shared->mutex);
  EXPECT_TRUE(shared->changed.wait_for(lock, 0ns, [] { return true; }));
}

TYPED_TEST(locks, a_stop_ends_a_wait) {
  const mapped<conversation> shared(std::in_place);
  auto u = TypeParam::start(
      [](std::stop_token stop, const file_descriptor& file) {
        const mapped<conversation> c(file);
        std::unique_lock lock(c->mutex);
        ++c->waiting;
        return c->changed.wait(lock, stop, [] { return false; });
      },
      shared.file());
  ASSERT_TRUE(all_wait(*shared, 1));
  u.request_stop();
  EXPECT_FALSE(u.get());
}

TEST_F(lock_rules, a_condition_works_with_the_lock_itself_and_with_any_other) {
  tandem::condition_variable changed;
  tandem::mutex own;
  std::mutex other;
  bool said = false;
  std::thread speaker([&] {
    const std::lock_guard lock(own);
    said = true;
    changed.notify_all();
  });
  own.lock();
  changed.wait(own, [&] { return said; });
  own.unlock();
  speaker.join();
  std::unique_lock lock(other);
  EXPECT_EQ(changed.wait_for(lock, 1ms), std::cv_status::timeout);
  EXPECT_TRUE(lock.owns_lock());
}

TEST_F(lock_rules, a_wait_that_cannot_take_the_lock_again_does_not_own_it) {
  conversation c;
  std::thread killer;
  std::unique_lock lock(c.mutex);
  killer = std::thread([&] {
    c.mutex.lock();  // and ends with it
    c.turn = 1;
    c.changed.notify_all();
  });
  EXPECT_THROW(c.changed.wait(lock, [] { return false; }), tandem::owner_died);
  EXPECT_FALSE(lock.owns_lock());
  killer.join();
}

std::atomic<int> interruptions{0};

TEST_F(lock_rules, signals_do_not_end_a_wait) {
  struct sigaction counting {};
  counting.sa_handler = [](int) { ++interruptions; };
  ASSERT_EQ(::sigaction(SIGUSR1, &counting, nullptr), 0);  // without SA_RESTART
  tandem::mutex held;
  tandem::mutex of_condition;
  tandem::condition_variable changed;
  tandem::counting_semaphore<> permits(0);
  tandem::event event;
  tandem::barrier barrier(2);
  bool said = false;
  held.lock();
  const std::vector<std::function<void()>> waits = {
      [&] { const std::lock_guard lock(held); },
      [&] {
        std::unique_lock lock(of_condition);
        changed.wait(lock, [&] { return said; });
      },
      [&] { permits.acquire(); },
      [&] { EXPECT_TRUE(event.wait_for(1h)); },
      [&] { barrier.arrive_and_wait(); },
  };
  std::atomic<int> over{0};
  std::vector<std::thread> waiters;
  for (const auto& wait : waits) {
    waiters.emplace_back([&] {
      wait();
      ++over;
    });
  }
  for (auto& waiter : waiters) {
    const int wanted = interruptions + 20;
    EXPECT_TRUE(eventually([&] {
      ::pthread_kill(waiter.native_handle(), SIGUSR1);
      return interruptions >= wanted;
    }));
  }
  EXPECT_EQ(over, 0);
  held.unlock();
  {
    const std::lock_guard lock(of_condition);
    said = true;
  }
  changed.notify_all();
  permits.release();
  event.set();
  barrier.arrive_and_wait();
  for (auto& waiter : waiters) waiter.join();
}

// ---- children made by fork() --------------------------------------------------------------------------------------

TEST_F(lock_rules, a_child_of_fork_is_refused_by_name) {
  tandem::mutex m;
  m.lock();
  m.unlock();
  std::array<file_descriptor, 2> ends;
  ASSERT_EQ(tandem::os::pipe_pair(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    std::string said = "locked";
    try {
      m.lock();
    } catch (const tandem::not_initialised& e) {
      said = e.what();
    }
    tandem::os::write_some(ends[1].get(), std::as_bytes(std::span(said)));
    ::_exit(0);
  }
  std::array<char, 512> text{};
  const long size = tandem::os::read_some(ends[0].get(), std::as_writable_bytes(std::span(text)));
  ASSERT_GT(size, 0);
  EXPECT_THAT(std::string(text.data(), static_cast<std::size_t>(size)), testing::HasSubstr("copy that fork() made"));
  EXPECT_EQ(tandem::os::reap_any(true).pid, child);
}

TEST_F(lock_rules, a_copy_of_the_program_is_somebody_else) {
  const mapped<counted<tandem::mutex>> shared(std::in_place);
  shared->mutex.lock();
  tandem::process copy(tandem::fork_options{},
                       [&] { return static_cast<int>(code_of([&] { shared->mutex.unlock(); })); });
  EXPECT_EQ(copy.get(), static_cast<int>(std::errc::operation_not_permitted));
  shared->mutex.unlock();
}

TEST_F(lock_rules, a_fresh_image_is_of_the_same_session) {
  const mapped<counted<tandem::mutex>> shared(std::in_place);
  shared->mutex.lock();
  tandem::process fresh(
      {.start = tandem::start_method::spawn},
      [](const file_descriptor& file) {
        const mapped<counted<tandem::mutex>> m(file);
        m->ready = 1;
        const std::lock_guard lock(m->mutex);
        return ++m->value;
      },
      shared.file());
  while (shared->ready == 0) std::this_thread::yield();
  shared->value = 41;
  shared->mutex.unlock();
  EXPECT_EQ(fresh.get(), 42);
}

}  // namespace
