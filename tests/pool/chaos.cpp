// pool_chaos [--tasks N] [--servers] [--faults]: 4 workers, one of which is killed every 5 ms; with --servers the fork server
// once a second; with --faults one of the next calls into the kernel then fails with EMFILE or ENOMEM, by turns in the program
// and in the fork server. Each result has to come exactly once. Ends with 1 if not, or if anything is left.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <thread>

#include <tandem/process_pool.hpp>
#include <tandem/tandem.hpp>

#include "os/faults.hpp"
#include "support/leaks.hpp"

namespace {

#if defined(__SANITIZE_THREAD__)
constexpr unsigned interval_us = 100'000;  // a start takes longer than what is asked for
#elif defined(__SANITIZE_ADDRESS__)
constexpr unsigned interval_us = 20'000;
#else
constexpr unsigned interval_us = 5'000;
#endif

constexpr int rounds_per_second = 1'000'000 / interval_us;

long same(long n) { return n; }

struct plan {
  long tasks = 200000;
  bool servers = false;
  bool faults = false;
};

struct result {
  std::size_t wrong = 0;
  std::size_t failed = 0;
  int kills = 0;
  int servers = 0;
  int faults = 0;
  tandem::pool_stats stats = {};
};

#if defined(TANDEM_FAULTS)
// True if the one before this has failed.
bool let_a_call_fail(int round, unsigned& seed) {
  constexpr int most_calls_ahead = 12;
  const bool failed = tandem::os::faults::disarm();
  tandem::os::faults::arm(round % 2 == 0 ? tandem::os::role::host : tandem::os::role::server,
                          ::rand_r(&seed) % most_calls_ahead + 1, round % 4 < 2 ? EMFILE : ENOMEM);
  return failed;
}
bool no_call_fails() { return tandem::os::faults::disarm(); }
void share_faults() { tandem::os::faults::share(); }
#else
bool let_a_call_fail(int, unsigned&) { return false; }
bool no_call_fails() { return false; }
void share_faults() {}
#endif

result run(const plan& p) {
  result r;
  tandem::process_pool pool(4);
  std::atomic<bool> ends{false};
  std::thread chaos([&] {
    unsigned seed = 7;
    for (int round = 0; !ends; ++round) {
      const auto workers = pool.stats().workers;
      if (!workers.empty()) {
        const pid_t one = workers[static_cast<std::size_t>(::rand_r(&seed)) % workers.size()].pid;
        const pid_t server = tandem::test::fork_server_of(one);
        if (p.servers && round % rounds_per_second == rounds_per_second - 1 && server != 0) {
          r.servers += ::kill(server, SIGKILL) == 0;
        } else {
          r.kills += ::kill(one, SIGKILL) == 0;
        }
      }
      if (p.faults) r.faults += let_a_call_fail(round, seed);
      ::usleep(interval_us);  // lint: sleep the interval is what is asked for
    }
    r.faults += no_call_fails();
  });
  long next = 0;
  std::deque<tandem::future<long>> flying;
  const auto take = [&] {
    try {
      r.wrong += flying.front().get() != next++;
    } catch (const std::exception& e) {
      ++next;
      if (r.failed++ < 5) std::fprintf(stderr, "%s\n", e.what());
    }
    flying.pop_front();
  };
  for (long i = 0; i < p.tasks; ++i) {
    flying.push_back(pool.submit({.retries = 1000}, same, i));
    if (flying.size() > 500) take();
  }
  while (!flying.empty()) take();
  ends = true;
  chaos.join();
  r.stats = pool.stats();
  return r;
}

}  // namespace

int main(int count, char** values) {
  plan p;
  for (int i = 1; i < count; ++i) {
    if (std::strcmp(values[i], "--servers") == 0) p.servers = true;
    if (std::strcmp(values[i], "--faults") == 0) p.faults = true;
    if (std::strcmp(values[i], "--tasks") == 0 && i + 1 < count) p.tasks = std::atol(values[++i]);
  }
  share_faults();
  tandem::init();
  const auto before = tandem::test::take_stock();
  const result r = run(p);
  const auto left = tandem::test::leaks_since(before);
  for (const std::string& leak : left) std::fprintf(stderr, "left behind: %s\n", leak.c_str());
  std::printf(
      "%ld tasks, %d workers and %d servers killed, %d calls failed; done %zu, run again %zu; wrong %zu, failed %zu, "
      "left "
      "%zu\n",
      p.tasks, r.kills, r.servers, r.faults, r.stats.done, r.stats.retried, r.wrong, r.failed, left.size());
  return r.wrong == 0 && r.failed == 0 && left.empty() && r.stats.done == static_cast<std::size_t>(p.tasks) ? 0 : 1;
}
