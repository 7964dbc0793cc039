// Participants are killed; those that are left go on.
#include <signal.h>
#include <unistd.h>

#include <fstream>

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

bool sleeps(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/wchan");
  std::string where;
  std::getline(file, where);
  return where.find("futex") != std::string::npos;
}

template <class Process>
void expect_owner_died(Process& owner, const mapped<stage>& shared, pid_t killed) {
  ASSERT_TRUE(eventually([&] { return shared->holding == 1; }));
  tandem::process waiter(wait_for_the_lock, shared.file());
  ASSERT_TRUE(eventually([&] { return sleeps(waiter.id()); }));
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

}  // namespace
