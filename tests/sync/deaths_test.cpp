// Participants are killed; those that are left go on.
#include <signal.h>
#include <unistd.h>

#include <mutex>
#include <thread>
#include <vector>

#include <tandem/detail/sync_memory.hpp>
#include <tandem/shared.hpp>
#include <tandem/sync.hpp>

#include "support/fixture.hpp"
#include "sync/mapped.hpp"

namespace {

using namespace std::chrono_literals;
using tandem::file_descriptor;
using tandem::test::eventually;
using tandem::test::mapped;

class sync_deaths : public tandem::test::checked {};

struct stage {
  tandem::mutex mutex = {};
  tandem::condition_variable changed = {};
  std::atomic<int> holding{0};
  std::atomic<int> waiting{0};
  int value = 0;
};

void hold_for_ever(const file_descriptor& file) {
  const mapped<stage> s(file);
  s->mutex.lock();
  s->holding = 1;
  for (;;) ::pause();
}

bool wait_for_the_lock(const file_descriptor& file) {
  const mapped<stage> s(file);
  ++s->waiting;
  try {
    s->mutex.lock();
  } catch (const tandem::owner_died&) {
    return true;
  }
  s->mutex.unlock();
  return false;
}

template <class Process>
void expect_owner_died(Process& owner, const mapped<stage>& shared, pid_t killed) {
  ASSERT_TRUE(eventually([&] { return shared->holding == 1; }));
  tandem::process waiter(wait_for_the_lock, shared.file());
  ASSERT_TRUE(eventually([&] { return tandem::test::sleeps_at_futex(waiter.id()); }));
  ::kill(killed, SIGKILL);
  EXPECT_TRUE(waiter.get());
  EXPECT_THROW(shared->mutex.lock(), tandem::owner_died);
  shared->mutex.lock_and_repair([] {});
  shared->mutex.lock();
  shared->mutex.unlock();
  owner.kill();
  owner.join();
}

TEST_F(sync_deaths, a_killed_owner_is_told_to_those_who_wait_and_to_those_who_come) {
  const mapped<stage> shared(std::in_place);
  tandem::process owner(hold_for_ever, shared.file());
  expect_owner_died(owner, shared, owner.id());
}

TEST_F(sync_deaths, of_a_fresh_image) {
  const mapped<stage> shared(std::in_place);
  tandem::process owner({.start = tandem::start_method::spawn}, hold_for_ever, shared.file());
  expect_owner_died(owner, shared, owner.id());
}

TEST_F(sync_deaths, of_a_copy_of_the_program) {
  const mapped<stage> shared(std::in_place);
  tandem::process owner(tandem::fork_options{}, [&] { hold_for_ever(shared.file()); });
  expect_owner_died(owner, shared, owner.id());
}

TEST_F(sync_deaths, of_a_copy_of_a_worker) {
  const mapped<stage> shared(std::in_place);
  tandem::process worker(
      [](const file_descriptor& file) {
        tandem::process copy(tandem::fork_options{}, [&] { hold_for_ever(file); });
        const mapped<stage> s(file);
        s->value = copy.id();
        s->waiting = 1;
        for (;;) ::pause();
      },
      shared.file());
  ASSERT_TRUE(eventually([&] { return shared->waiting == 1; }));
  shared->waiting = 0;
  expect_owner_died(worker, shared, shared->value);
}

// Whoever has joined the dead one need not wait until somebody has told of it.
TEST_F(sync_deaths, what_was_joined_is_known_to_be_dead) {
  struct place {
    tandem::mutex mutex = {};
    tandem::barrier barrier{2};
    std::atomic<bool> begun{false};
  };
  for (int i = 0; i < 20; ++i) {
    const mapped<place> shared(std::in_place);
    tandem::process p(
        [](const file_descriptor& file) {
          const mapped<place> here(file);
          here->mutex.lock();
          std::thread killer([&] {
            while (!tandem::test::sleeps_at_futex(::getpid())) std::this_thread::yield();
            ::kill(::getpid(), SIGKILL);
          });
          here->barrier.arrive_and_wait();
          killer.join();
        },
        shared.file());
    p.join();
    EXPECT_THROW(shared->mutex.try_lock(), tandem::owner_died);
    EXPECT_THROW(shared->barrier.arrive_and_wait(), tandem::broken_barrier);
  }
}

// ---- a latch ------------------------------------------------------------------------------------------------------

using tandem::detail::memory_origin;

struct counted_down {
  tandem::latch latch{2};
  std::atomic<int> begun{0};
};

// As memory that is handed over does.
struct handed {
  mapped<counted_down> memory;
  handed(const file_descriptor& file, std::uint64_t number) : memory(file) {
    tandem::detail::attach_memory(number, &*memory, sizeof(counted_down), memory_origin::handed);
  }
  handed(const handed&) = delete;
  handed& operator=(const handed&) = delete;
  ~handed() { tandem::detail::detach_memory(&*memory); }
};

void wait_to_be_killed(const file_descriptor& file, std::uint64_t number, int counts) {
  const handed h(file, number);
  for (int i = 0; i < counts; ++i) h.memory->latch.count_down();
  ++h.memory->begun;
  for (;;) ::pause();
}

TEST_F(sync_deaths, of_one_that_owed_a_latch_a_count) {
  const mapped<counted_down> shared(std::in_place);
  const std::uint64_t number = tandem::detail::new_memory_number();
  tandem::detail::attach_memory(number, &*shared, sizeof(counted_down), memory_origin::made);
  tandem::process paid(wait_to_be_killed, shared.file(), number, 1);
  tandem::process owes(wait_to_be_killed, shared.file(), number, 0);
  ASSERT_TRUE(eventually([&] { return shared->begun == 2; }));
  tandem::process waiter(
      [](const file_descriptor& file, std::uint64_t memory) {
        const handed h(file, memory);
        ++h.memory->begun;
        try {
          h.memory->latch.wait();
        } catch (const tandem::broken_barrier&) {
          return true;
        }
        return false;
      },
      shared.file(), number);
  ASSERT_TRUE(eventually([&] { return shared->begun == 3 && tandem::test::sleeps_at_futex(waiter.id()); }));
  paid.kill();
  paid.join();
  EXPECT_TRUE(waiter.running());
  owes.kill();
  EXPECT_TRUE(waiter.get());
  EXPECT_THROW(shared->latch.wait(), tandem::broken_barrier);
  shared->latch.count_down();
  shared->latch.wait();
  tandem::detail::detach_memory(&*shared);
}

TEST_F(sync_deaths, of_one_that_owed_a_latch_in_shared_memory) {
  const tandem::shared<tandem::latch> latch(1);
  const tandem::shared<tandem::event> holds_it;
  tandem::process owes(
      [](const tandem::shared<tandem::latch>&, const tandem::shared<tandem::event>& holds) {
        holds->set();
        for (;;) ::pause();
      },
      latch, holds_it);
  holds_it->wait();  // what is killed before it has its arguments owes nothing
  tandem::process waiter(
      [](const tandem::shared<tandem::latch>& l) {
        try {
          l->wait();
        } catch (const tandem::broken_barrier&) {
          return true;
        }
        return false;
      },
      latch);
  ASSERT_TRUE(eventually([&] { return tandem::test::sleeps_at_futex(waiter.id()); }));
  owes.kill();
  EXPECT_TRUE(waiter.get());
}

TEST_F(sync_deaths, of_one_that_has_returned_owes_nothing) {
  const mapped<counted_down> shared(std::in_place);
  const std::uint64_t number = tandem::detail::new_memory_number();
  tandem::detail::attach_memory(number, &*shared, sizeof(counted_down), memory_origin::made);
  tandem::process([](const file_descriptor& file, std::uint64_t memory) { handed h(file, memory); }, shared.file(),
                  number)
      .get();
  shared->latch.count_down(2);
  shared->latch.wait();
  tandem::detail::detach_memory(&*shared);
}

}  // namespace
