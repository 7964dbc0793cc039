// What a pool of processes does when workers die, hang or cannot start.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <numeric>
#include <set>
#include <thread>

#include <tandem/process_pool.hpp>
#include <tandem/shared.hpp>

#include "support/fixture.hpp"

/// The program decodes it once it may.
struct held_error : std::exception {
  static inline std::atomic<bool> is_read{false}, may_go_on{false};
};
template <>
struct tandem::transfer<held_error> {
  static void write(writer& w, const held_error&) { w(1); }
  static held_error read(reader& r) {
    int one = 0;
    r(one);
    held_error::is_read = true;
    while (!held_error::may_go_on) std::this_thread::yield();
    return {};
  }
};

namespace {

using namespace std::chrono_literals;
using tandem::process_pool;

// Before the fork server is made, so that the workers know it.
[[maybe_unused]] const bool is_registered = (tandem::register_exception<held_error>(), true);

class process_pool_deaths : public tandem::test::checked {};

int square(int n) { return n * n; }
pid_t own_pid() { return ::getpid(); }
int die_by(int how) {
  if (how == -1) ::_exit(3);
  if (how == -2) std::exit(4);
  ::raise(how);
  return 0;
}
[[noreturn]] void spin_for_ever() {
  for (volatile int i = 0;; static_cast<void>(i)) {
  }
}

TEST_F(process_pool_deaths, fail_one_task) {
  process_pool pool(2);
  std::vector<tandem::future<int>> all;
  for (int i = 0; i < 20; ++i)
    all.push_back(i == 7 ? pool.submit({.name = "killer"}, die_by, SIGKILL) : pool.submit(square, i));
  int failed = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    try {
      EXPECT_EQ(all[i].get(), static_cast<int>(i * i));
    } catch (const tandem::worker_crashed& e) {
      ++failed;
      EXPECT_EQ(e.report().task, "killer");
      EXPECT_EQ(e.report().status.signal(), SIGKILL);
      EXPECT_TRUE(e.report().quarantined);
      EXPECT_EQ(e.report().worker.substr(0, 5), "pool-");
      EXPECT_GT(e.report().pid, 0);
    }
  }
  EXPECT_EQ(failed, 1);
  EXPECT_EQ(pool.submit(square, 5).get(), 25);
  const auto stats = pool.stats();
  EXPECT_EQ(stats.crashed, 1U);
  EXPECT_EQ(stats.done, 20U);
}

// Quick elements, and room for many of them.
TEST_F(process_pool_deaths, fail_one_element_of_a_map) {
  process_pool pool(2);
  std::vector<int> input(500);
  std::iota(input.begin(), input.end(), 0);
  int next = 0;
  auto results = pool.map([](int n) { return n == 400 ? die_by(SIGKILL) : n; }, input, {.window = 200});
  EXPECT_THROW(
      {
        for (const int n : results) EXPECT_EQ(n, next++);
      },
      tandem::worker_crashed);
  EXPECT_EQ(next, 400);
}

TEST_F(process_pool_deaths, name_the_code_of_an_exit) {
  process_pool pool(1);
  for (const auto& [how, code] : {std::pair(-1, 3), std::pair(-2, 4)}) {
    try {
      pool.submit(die_by, how).get();
      FAIL();
    } catch (const tandem::worker_exited& e) {
      EXPECT_EQ(e.report().status.code(), code);
    }
  }
  EXPECT_EQ(pool.submit(square, 2).get(), 4);
}

TEST_F(process_pool_deaths, keep_the_end_of_standard_error) {
  process_pool pool(1);
  try {
    pool.submit([] {
          static_cast<void>(::write(2, "last words\n", 11));
          ::raise(SIGSEGV);
        })
        .get();
    FAIL();
  } catch (const tandem::worker_crashed& e) {
    EXPECT_NE(e.report().standard_error.find("last words"), std::string::npos);
  }
}

TEST_F(process_pool_deaths, run_again_as_often_as_asked) {
  process_pool pool(2);
  EXPECT_EQ(pool.submit({.retries = 3},
                        [] {
                          if (tandem::this_worker::attempt() < 4) ::raise(SIGKILL);
                          return tandem::this_worker::attempt();
                        })
                .get(),
            4U);
  try {
    pool.submit({.name = "always", .retries = 2}, die_by, SIGSEGV).get();
    FAIL();
  } catch (const tandem::worker_crashed& e) {
    EXPECT_TRUE(e.report().quarantined);
    EXPECT_EQ(e.report().attempt, 3U);
    EXPECT_NE(e.report().to_string().find("not run again"), std::string::npos);
  }
  EXPECT_EQ(pool.stats().retried, 5U);
}

TEST_F(process_pool_deaths, end_what_takes_too_long) {
  process_pool pool({.workers = 1, .stop_grace = 1ms, .kill_grace = 1ms});
  const pid_t first = pool.submit(own_pid).get();
  auto late = pool.submit({.deadline = 10ms}, spin_for_ever);
  auto next = pool.submit(own_pid);
  EXPECT_THROW(late.get(), tandem::timed_out);
  EXPECT_NE(next.get(), first);
  EXPECT_EQ(pool.stats().timed_out, 1U);
}

TEST_F(process_pool_deaths, keep_a_worker_that_stops_at_its_deadline) {
  process_pool pool(1);
  const pid_t first = pool.submit(own_pid).get();
  auto late = pool.submit({.deadline = 10ms}, [](std::stop_token stop) {
    while (!stop.stop_requested()) std::this_thread::yield();
  });
  EXPECT_THROW(late.get(), tandem::timed_out);
  EXPECT_EQ(pool.submit(own_pid).get(), first);
}

TEST_F(process_pool_deaths, kill_what_is_cancelled_hard) {
  process_pool pool({.workers = 1, .stop_grace = 1ms, .kill_grace = 1ms});
  auto f = pool.submit(spin_for_ever);
  EXPECT_TRUE(tandem::test::eventually([&] { return pool.stats().running == 1; }));
  EXPECT_TRUE(f.cancel(tandem::hard));
  EXPECT_THROW(f.get(), tandem::cancelled);
  EXPECT_EQ(pool.submit(square, 3).get(), 9);
}

TEST_F(process_pool_deaths, replace_workers_that_strangers_kill) {
  process_pool pool(2);
  for (int round = 0; round < 10; ++round) {
    for (const auto& w : pool.stats().workers) ::kill(w.pid, SIGKILL);
    std::vector<tandem::future<int>> all;
    for (int i = 0; i < 50; ++i) all.push_back(pool.submit({.retries = 1000}, square, i));
    for (int i = 0; i < 50; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i * i);
  }
}

TEST_F(process_pool_deaths, move_what_was_not_begun) {
  process_pool pool(1);
  std::vector<tandem::future<int>> all;
  auto killer = pool.submit(die_by, SIGKILL);
  for (int i = 0; i < 200; ++i) all.push_back(pool.submit(square, i));
  EXPECT_THROW(killer.get(), tandem::worker_crashed);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i * i);
  EXPECT_EQ(pool.stats().crashed, 1U);
}

/// How many run, which one ran last, and what was wrong.
struct key_log {
  std::atomic<int> running, last, overlaps, disorders;
};
int enter(const tandem::shared_array<key_log>& log, int i) {
  if (i % 10 == 3 && tandem::this_worker::attempt() == 1) ::raise(SIGKILL);
  key_log& seen = log.span()[0];
  if (seen.running.fetch_add(1) != 0) ++seen.overlaps;
  if (seen.last.exchange(i) >= i) ++seen.disorders;
  if (i % 7 == 0) ::usleep(3000);  // lint: sleep longer than the age of a worker
  --seen.running;
  return i;
}

TEST_F(process_pool_deaths, keep_the_order_of_a_key) {
  tandem::shared_array<key_log> log(1);
  log.span()[0].last = -1;
  process_pool pool({.workers = 3, .max_tasks_per_worker = 9, .max_worker_age = 2ms});
  std::vector<tandem::future<int>> all, others;
  for (int i = 0; i < 100; ++i) {
    all.push_back(pool.submit({.retries = 2, .key = 7}, enter, log, i));
    others.push_back(pool.submit(square, i));
  }
  for (int i = 0; i < 100; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(others[static_cast<std::size_t>(i)].get(), i * i);
  EXPECT_EQ(log.span()[0].overlaps.load(), 0);
  EXPECT_EQ(log.span()[0].disorders.load(), 0);
}

TEST_F(process_pool_deaths, keep_the_order_of_a_key_while_workers_are_used_up) {
  tandem::shared_array<key_log> log(1);
  log.span()[0].last = -1;
  process_pool pool({.workers = 2, .max_tasks_per_worker = 10});
  const auto pass = [](const tandem::shared_array<key_log>& seen, int i) {
    if (seen.span()[0].last.exchange(i) >= i) ++seen.span()[0].disorders;
  };
  std::vector<tandem::future<void>> all;
  for (int i = 0; i < 1500; ++i) all.push_back(pool.submit({.key = 7}, pass, log, i));
  for (auto& f : all) f.get();
  EXPECT_EQ(log.span()[0].disorders.load(), 0);
}

TEST_F(process_pool_deaths, cost_no_task_that_was_not_begun) {
  process_pool pool(2);
  const std::string text(1000, 'x');
  for (int round = 0; round < 20; ++round) {
    std::vector<tandem::future<std::size_t>> all;
    ::kill(pool.stats().workers.at(0).pid, SIGKILL);
    for (int i = 0; i < 50; ++i) {
      all.push_back(pool.submit(
          {.retries = 5}, [](const std::string& t, const tandem::file_descriptor&) { return t.size(); }, text,
          tandem::file_descriptor(::dup(0))));
    }
    for (auto& f : all) EXPECT_EQ(f.get(), text.size());
  }
}

TEST_F(process_pool_deaths, begin_nothing_of_a_key_while_a_late_one_runs) {
  tandem::shared_array<key_log> log(1);
  log.span()[0].last = -1;
  process_pool pool(1);  // the grace is long: it ends by itself
  const auto outlast_its_deadline = [](const tandem::shared_array<key_log>& l) {
    const struct entered {
      key_log& seen;
      ~entered() { --seen.running; }
    } here{l.span()[0]};
    ++here.seen.running;
    while (!tandem::this_worker::stop_token().stop_requested()) std::this_thread::yield();
    for (int i = 0; i < 1000; ++i) std::this_thread::yield();
  };
  auto late = pool.submit({.deadline = 1ms, .key = 7}, outlast_its_deadline, log);
  auto next = pool.submit({.key = 7}, enter, log, 1);
  EXPECT_THROW(late.get(), tandem::timed_out);
  EXPECT_EQ(next.get(), 1);
  EXPECT_EQ(log.span()[0].overlaps.load(), 0);
}

TEST_F(process_pool_deaths, survive_the_fork_server) {
  process_pool pool(2);
  pool.submit(square, 1).get();
  pid_t killed = 0;
  // Not one that has been killed; a worker may be one that dies with it.
  const auto find_server = [&] {
    pid_t found = 0;
    EXPECT_TRUE(tandem::test::eventually([&] {
      found = tandem::test::fork_server_of(pool.submit(own_pid).get());
      return found != 0 && found != killed;
    }));
    return found;
  };
  for (int round = 0; round < 3; ++round) {
    const pid_t server = find_server();
    ASSERT_GT(server, 1);
    std::vector<tandem::future<int>> all;
    for (int i = 0; i < 100; ++i) all.push_back(pool.submit(square, i));
    ::kill(killed = server, SIGKILL);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i * i);
  }
  find_server();
  EXPECT_EQ(pool.stats().crashed, 0U);
}

void failing_initializer() { throw std::range_error("no dictionary"); }
void dying_initializer() { ::raise(SIGSEGV); }
void exiting_initializer() { ::_exit(9); }

TEST_F(process_pool_deaths, fail_with_their_initializer) {
  process_pool pool({.workers = 2, .initializer = failing_initializer});
  try {
    pool.submit(square, 2).get();
    FAIL();
  } catch (const std::range_error& e) {
    EXPECT_STREQ(e.what(), "no dictionary");
  }
  EXPECT_TRUE(tandem::test::eventually([&] {
    try {
      static_cast<void>(pool.submit(square, 2));
      return false;
    } catch (const std::range_error&) {
      return true;
    }
  }));
  process_pool crashing({.workers = 1, .initializer = dying_initializer});
  EXPECT_THROW(crashing.submit(square, 2).get(), tandem::worker_crashed);
  process_pool exiting({.workers = 1, .initializer = exiting_initializer});
  EXPECT_THROW(exiting.submit(square, 2).get(), tandem::worker_exited);
}

int initialised = 0;
TEST_F(process_pool_deaths, initialise_each_worker_once) {
  process_pool pool({.workers = 2, .initializer = [] { ++initialised; }});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(pool.submit([] { return initialised; }).get(), 1);
  EXPECT_EQ(initialised, 0);
}

#if defined(__SANITIZE_THREAD__)
constexpr unsigned interval_us = 100'000;  // a start takes longer than five milliseconds
#else
constexpr unsigned interval_us = 5'000;
#endif

TEST_F(process_pool_deaths, lose_nothing_and_do_nothing_twice) {
  constexpr int tasks = 5000;
  tandem::shared_array<std::atomic<long>> sum(1);
  process_pool pool(4);
  std::atomic<bool> ends{false};
  std::thread chaos([&] {
    unsigned seed = 1;
    while (!ends) {
      const auto workers = pool.stats().workers;
      if (!workers.empty()) ::kill(workers[static_cast<std::size_t>(::rand_r(&seed)) % workers.size()].pid, SIGKILL);
      ::usleep(interval_us);  // lint: sleep the tasks are what is waited for
    }
  });
  long total = 0;
  std::vector<tandem::future<long>> all;
  for (int i = 0; i < tasks; ++i) {
    all.push_back(pool.submit(
        {.retries = 1000}, [](long n) { return n; }, static_cast<long>(i)));
  }
  for (auto& f : all) total += f.get();
  ends = true;
  chaos.join();
  EXPECT_EQ(total, long{tasks} * (tasks - 1) / 2);
  EXPECT_EQ(pool.stats().done, static_cast<std::size_t>(tasks));
}

// The last task is being ended by another thread, and one more is submitted that nobody holds.
TEST_F(process_pool_deaths, are_waited_for_while_others_submit) {
  process_pool pool(1);
  auto failing = pool.submit([]() -> int { throw held_error(); });
  std::jthread getter([&] { EXPECT_THROW(failing.get(), held_error); });
  while (!held_error::is_read) std::this_thread::yield();
  std::atomic<pid_t> tid{0};
  std::jthread waiter([&] {
    tid = ::gettid();
    pool.wait();
  });
  const auto sleeps = [&] {
    std::ifstream stat("/proc/self/task/" + std::to_string(tid) + "/stat");
    std::string number, name, state;
    stat >> number >> name >> state;
    return state == "S";
  };
  EXPECT_TRUE(tandem::test::eventually([&] { return tid != 0 && sleeps(); }));
  static_cast<void>(pool.submit(square, 2));
  held_error::may_go_on = true;
}

}  // namespace
