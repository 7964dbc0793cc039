// Pools of processes and the program that has them: its death, its memory, what it is doing meanwhile.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <sstream>
#include <thread>

#include <tandem/process_pool.hpp>

#include "support/fixture.hpp"
#include "support/run_program.hpp"

namespace {

using namespace tandem::literals;
using tandem::process_pool;

class process_pool_hosts : public tandem::test::checked {};

int square(int n) { return n * n; }
pid_t own_pid() { return ::getpid(); }

/// Decoded by the program while `decoding` holds it up.
struct held_up {};
std::atomic<bool> is_decoding{false};
std::atomic<bool> may_go_on{false};

}  // namespace

template <>
struct tandem::transfer<held_up> {
  static void write(writer& w, held_up) { w(1); }
  static held_up read(reader& r) {
    int one = 0;
    r(one);
    is_decoding = true;
    is_decoding.notify_all();
    may_go_on.wait(false);
    return {};
  }
};

namespace {

std::vector<pid_t> pids_in(const std::string& line) {
  std::vector<pid_t> pids;
  std::stringstream words(line);
  for (pid_t pid = 0; words >> pid;) pids.push_back(pid);
  return pids;
}
bool all_gone(const std::vector<pid_t>& pids) {
  return tandem::test::eventually(
      [&] { return std::none_of(pids.begin(), pids.end(), [](pid_t pid) { return tandem::test::exists(pid); }); });
}

TEST_F(process_pool_hosts, are_outlived_by_nothing_when_they_are_killed) {
  tandem::test::running_program host({tandem::test::program_beside("pool_host"), "busy"});
  const std::vector<pid_t> pids = pids_in(host.read_line());
  // Keeper and server, three workers, a child of one and the worker of the inner pool, at least: spares come beside them.
  ASSERT_GE(pids.size(), 7U);
  ::kill(host.pid(), SIGKILL);
  EXPECT_TRUE(all_gone(pids));
  EXPECT_EQ(host.wait().signal, SIGKILL);
}

TEST_F(process_pool_hosts, are_outlived_by_nothing_when_they_die_decoding_a_result) {
  tandem::test::running_program host({tandem::test::program_beside("pool_host"), "decode"});
  const std::vector<pid_t> pids = pids_in(host.read_line());
  ASSERT_GE(pids.size(), 7U);
  EXPECT_TRUE(all_gone(pids));
  EXPECT_EQ(host.wait().signal, SIGABRT);
}

TEST_F(process_pool_hosts, may_hang_decoding_a_result_while_the_pool_goes_on) {
  process_pool pool(1);
  std::thread decoder([&] { pool.submit([] { return held_up(); }).get(); });
  is_decoding.wait(false);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(pool.submit(square, i).get(), i * i);
  may_go_on = true;
  may_go_on.notify_all();
  decoder.join();
}

TEST_F(process_pool_hosts, of_much_memory_give_none_of_it_to_new_workers) {
  const std::vector<char> dirty(256_MiB, 'x');
  process_pool pool(1);
  for (int round = 0; round < 3; ++round) {
    const pid_t before = pool.submit(own_pid).get();
    ::kill(before, SIGKILL);
    const pid_t after = pool.submit({.retries = 10}, own_pid).get();
    EXPECT_NE(after, before);
    const auto stats = pool.stats();
    ASSERT_FALSE(stats.workers.empty());
    EXPECT_LT(stats.workers[0].memory_bytes, dirty.size() / 2);
  }
}

}  // namespace
