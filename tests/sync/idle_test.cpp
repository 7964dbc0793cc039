// Who waits does nothing, whatever others do meanwhile: no turn on a CPU.
#include <array>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <tandem/sync.hpp>

#include "support/fixture.hpp"
#include "sync/mapped.hpp"

namespace {

using tandem::file_descriptor;
using tandem::test::eventually;
using tandem::test::mapped;

class idle : public tandem::test::checked {};

constexpr auto long_time = std::chrono::hours(1);

struct everything {
  tandem::timed_mutex mutex = {};
  tandem::shared_mutex written = {};
  tandem::shared_mutex read = {};
  tandem::mutex of_condition = {};
  tandem::condition_variable changed = {};
  tandem::counting_semaphore<> permits{0};
  tandem::event event = {};
  tandem::barrier barrier{1000};
  tandem::latch latch{1};
  tandem::once_flag once = {};
  std::atomic<bool> held{false};
  tandem::mutex busy = {};  // of those who do something meanwhile
  tandem::condition_variable busy_changed = {};
  tandem::counting_semaphore<> busy_permits{1};
};

void wait_for_change(everything& e, bool timed) {
  std::unique_lock lock(e.of_condition);
  const auto never = [] { return false; };
  if (timed) {
    e.changed.wait_for(lock, long_time, never);
  } else {
    e.changed.wait(lock, never);
  }
}

using wait = void (*)(everything&);
constexpr std::array<wait, 13> kinds{
    [](everything& e) { e.mutex.lock(); },
    [](everything& e) { e.mutex.try_lock_for(long_time); },
    [](everything& e) { e.read.lock(); },
    [](everything& e) { e.written.lock_shared(); },
    [](everything& e) { wait_for_change(e, false); },
    [](everything& e) { wait_for_change(e, true); },
    [](everything& e) { e.permits.acquire(); },
    [](everything& e) { const tandem::counting_semaphore<>::guard guard(e.permits); },
    [](everything& e) { e.event.wait(); },
    [](everything& e) { e.event.wait_for(long_time); },
    [](everything& e) { e.barrier.arrive_and_wait(); },
    [](everything& e) { e.latch.wait(); },
    [](everything& e) { tandem::call_once(e.once, [] {}); },
};

void hold_all(const file_descriptor& file) {
  const mapped<everything> e(file);
  e->mutex.lock();
  e->written.lock();
  e->read.lock_shared();
  tandem::call_once(e->once, [&] {
    e->held = true;
    tandem::event never;
    never.wait();
  });
}

void be_busy(const file_descriptor& file) {
  const mapped<everything> e(file);
  for (int i = 0; i < 100; ++i) {
    const std::lock_guard lock(e->busy);
    const tandem::counting_semaphore<>::guard permit(e->busy_permits);
    e->busy_changed.notify_all();
  }
}

long switches_of(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  long sum = 0;
  std::string key;
  std::string rest;
  while (status >> key) {
    long count = 0;
    if (key.ends_with("_ctxt_switches:") && status >> count) sum += count;
    std::getline(status, rest);
  }
  return sum;
}

TEST_F(idle, who_waits_does_nothing_while_others_work_and_end) {
  const mapped<everything> shared(std::in_place);
  std::vector<tandem::process<void>> all;
  all.emplace_back(hold_all, shared.file());
  ASSERT_TRUE(eventually([&] { return shared->held.load(); }));
  for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
    all.emplace_back(
        [](const file_descriptor& file, std::size_t i) {
          const mapped<everything> e(file);
          kinds[i](*e);
        },
        shared.file(), kind);
  }
  const auto count_all = [&] {
    std::vector<long> each;
    for (auto& p : all) each.push_back(switches_of(p.id()));
    return each;
  };
  // Some sleep, wake and sleep again while others come: what counts begins when a while has passed without a switch.
  std::vector<long> before;
  ASSERT_TRUE(eventually([&] {
    for (auto& p : all) {
      if (!tandem::test::sleeps_at_futex(p.id())) return false;
    }
    before = count_all();
    tandem::process(be_busy, shared.file()).join();
    return count_all() == before;
  }));
  for (int i = 0; i < 30; ++i) {
    tandem::process one(be_busy, shared.file());
    tandem::thread other(be_busy, shared.file());
    be_busy(shared.file());
    one.get();
    other.get();
  }
  EXPECT_EQ(count_all(), before);
  for (auto& p : all) p.kill();
  for (auto& p : all) p.join();
}

}  // namespace
