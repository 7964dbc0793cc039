// pool_chaos [--tasks N] [--servers]: 4 workers, one of which is killed every 5 ms, and with --servers the fork server once a
// second. Each result has to come exactly once. Ends with 1 if not, or if anything is left.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <thread>

#include <tandem/process_pool.hpp>
#include <tandem/tandem.hpp>

#include "support/leaks.hpp"

namespace {

long same(long n) { return n; }

struct result {
  std::size_t wrong = 0;
  std::size_t failed = 0;
  int kills = 0;
  int servers = 0;
  tandem::pool_stats stats = {};
};

result run(long tasks, bool servers) {
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
        if (servers && round % 200 == 199 && server != 0) {
          r.servers += ::kill(server, SIGKILL) == 0;
        } else {
          r.kills += ::kill(one, SIGKILL) == 0;
        }
      }
      ::usleep(5000);  // lint: sleep the interval is what is asked for
    }
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
  for (long i = 0; i < tasks; ++i) {
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
  tandem::init();
  long tasks = 200000;
  bool servers = false;
  for (int i = 1; i < count; ++i) {
    if (std::strcmp(values[i], "--servers") == 0) servers = true;
    if (std::strcmp(values[i], "--tasks") == 0 && i + 1 < count) tasks = std::atol(values[++i]);
  }
  const auto before = tandem::test::take_stock();
  const result r = run(tasks, servers);
  const auto left = tandem::test::leaks_since(before);
  for (const std::string& leak : left) std::fprintf(stderr, "left behind: %s\n", leak.c_str());
  std::printf("%ld tasks, %d workers and %d servers killed; done %zu, run again %zu; wrong %zu, failed %zu, left %zu\n",
              tasks, r.kills, r.servers, r.stats.done, r.stats.retried, r.wrong, r.failed, left.size());
  return r.wrong == 0 && r.failed == 0 && left.empty() && r.stats.done == static_cast<std::size_t>(tasks) ? 0 : 1;
}
