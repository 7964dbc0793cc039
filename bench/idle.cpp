// What waiting costs: processes that are blocked in every kind of wait, for a while in which nothing happens.
//
//   bench_idle [--processes 8] [--seconds 10]
//
// Fails if one of them, the keeper or the fork server was switched to a CPU meanwhile, or spent time on one.
#include <array>
#include <exception>
#include <mutex>
#include <shared_mutex>
#include <thread>

#include <tandem/init.hpp>
#include <tandem/process.hpp>
#include <tandem/shared.hpp>
#include <tandem/sync.hpp>

#include "census.hpp"
#include "measure.hpp"

namespace {

constexpr auto long_time = std::chrono::hours(1);

struct everything {
  tandem::mutex mutex = {};
  tandem::timed_mutex timed = {};
  tandem::recursive_mutex recursive = {};
  tandem::shared_mutex written = {};
  tandem::shared_mutex read = {};
  tandem::mutex of_condition = {};
  tandem::condition_variable changed = {};
  tandem::counting_semaphore<> permits{0};
  tandem::event event = {};
  tandem::barrier barrier{60'000};
  tandem::latch latch{1};
  tandem::once_flag once = {};
  std::atomic<int> ready{0};
};
using handle = tandem::shared<everything>;

struct wait_kind {
  const char* name;
  void (*wait)(everything&);
};
constexpr std::array kinds{
    wait_kind{"mutex::lock", [](everything& e) { e.mutex.lock(); }},
    wait_kind{"timed_mutex::try_lock_for", [](everything& e) { e.timed.try_lock_for(long_time); }},
    wait_kind{"recursive_mutex::lock", [](everything& e) { e.recursive.lock(); }},
    wait_kind{"shared_mutex::lock, read by another", [](everything& e) { e.read.lock(); }},
    wait_kind{"shared_mutex::lock_shared", [](everything& e) { e.written.lock_shared(); }},
    wait_kind{"condition_variable::wait",
              [](everything& e) {
                std::unique_lock lock(e.of_condition);
                e.changed.wait(lock, [] { return false; });
              }},
    wait_kind{"condition_variable::wait_for",
              [](everything& e) {
                std::unique_lock lock(e.of_condition);
                e.changed.wait_for(lock, long_time, [] { return false; });
              }},
    wait_kind{"counting_semaphore::acquire", [](everything& e) { e.permits.acquire(); }},
    wait_kind{"counting_semaphore::guard",
              [](everything& e) { const tandem::counting_semaphore<>::guard guard(e.permits); }},
    wait_kind{"event::wait", [](everything& e) { e.event.wait(); }},
    wait_kind{"event::wait_for", [](everything& e) { e.event.wait_for(long_time); }},
    wait_kind{"barrier::arrive_and_wait", [](everything& e) { e.barrier.arrive_and_wait(); }},
    wait_kind{"latch::wait", [](everything& e) { e.latch.wait(); }},
    wait_kind{"call_once", [](everything& e) { tandem::call_once(e.once, [] {}); }},
};

void wait_there(std::size_t kind, const handle& all) {
  ++all->ready;
  kinds[kind].wait(*all);
}

// Holds all that is waited for, until it is killed.
void hold(const handle& all) {
  all->mutex.lock();
  all->timed.lock();
  all->recursive.lock();
  all->written.lock();
  all->read.lock_shared();
  tandem::call_once(all->once, [&] {
    ++all->ready;
    tandem::event never;
    never.wait();
  });
}

struct cost {
  long voluntary = 0;
  long involuntary = 0;
  long ticks = 0;  // of CPU time
};

cost cost_of(pid_t pid) {
  cost c;
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  std::string key;
  std::string rest;
  while (status >> key) {
    if (key == "voluntary_ctxt_switches:") {
      status >> c.voluntary;
    } else if (key == "nonvoluntary_ctxt_switches:") {
      status >> c.involuntary;
    } else {
      std::getline(status, rest);
    }
  }
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::getline(stat, rest, ')');
  for (int i = 3; i < 14; ++i) stat >> key;
  long user = 0;
  long system = 0;
  stat >> user >> system;
  c.ticks = user + system;
  return c;
}

bool sleeps(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(stat, line, ')');
  char state = 0;
  stat >> state;
  return state == 'S';
}

struct watched {
  std::string name;
  pid_t pid;
  cost before = {};
};

// True if none of them did anything.
bool report(const std::vector<watched>& all) {
  bool idle = true;
  std::size_t next = 0;
  while (next < all.size()) {
    const std::string& name = all[next].name;
    cost sum;
    int count = 0;
    for (; next < all.size() && all[next].name == name; ++next, ++count) {
      const cost now = cost_of(all[next].pid);
      sum.voluntary += now.voluntary - all[next].before.voluntary;
      sum.involuntary += now.involuntary - all[next].before.involuntary;
      sum.ticks += now.ticks - all[next].before.ticks;
    }
    fmt::print("  {:<38}{:>4}{:>12}{:>12}{:>12}\n", name, count, sum.voluntary, sum.involuntary, sum.ticks);
    idle = idle && sum.voluntary == 0 && sum.involuntary == 0 && sum.ticks == 0;
  }
  return idle;
}

int run(int argc, char** argv) {
  bench::arguments given(argc, argv);
  const int count = given.number("--processes", 8);
  const int seconds = given.number("--seconds", 10);
  given.finish();
  tandem::init();

  const handle all;
  std::vector<tandem::process<void>> processes;
  std::vector<watched> ones;
  processes.emplace_back(hold, all);
  while (all->ready != 1) std::this_thread::yield();
  for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
    for (int i = 0; i < count; ++i) {
      processes.emplace_back(wait_there, kind, all);
      ones.push_back({kinds[kind].name, processes.back().id()});
    }
  }
  ones.push_back({"(the holder of all)", processes.front().id()});
  const pid_t keeper = bench::children_of(::getpid()).at(0);
  ones.push_back({"(keeper)", keeper});
  ones.push_back({"(fork server)", bench::children_of(keeper).at(0)});
  while (all->ready != 1 + static_cast<int>(kinds.size()) * count) std::this_thread::yield();
  for (const watched& w : ones) {
    while (!sleeps(w.pid)) std::this_thread::yield();
  }
  std::this_thread::sleep_for(
      std::chrono::milliseconds(200));  // those who sleep by now may have been in the middle of it
  for (watched& w : ones) w.before = cost_of(w.pid);
  std::this_thread::sleep_for(std::chrono::seconds(seconds));
  fmt::print("{} processes in each kind of wait, for {} s: sums of what they did\n", count, seconds);
  fmt::print("  {:<38}{:>4}{:>12}{:>12}{:>12}\n", "", "of", "voluntary", "involuntary", "CPU ticks");
  const bool idle = report(ones);
  for (auto& p : processes) p.kill();
  for (auto& p : processes) p.join();
  fmt::print("{}\n", idle ? "nobody did anything" : "NOT IDLE");
  return idle ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) { return bench::main_of("bench_idle", run, argc, argv); }
