// What a pool of processes does while nobody dies.
#include <malloc.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <fstream>
#include <future>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>

#include <tandem/pool.hpp>
#include <tandem/process_pool.hpp>
#include <tandem/shared.hpp>
#include <tandem/stop_source.hpp>

#include "support/fixture.hpp"

/// Counts how often it is copied.
struct counted {
  explicit counted(int n) : number(n) {}
  counted(const counted& other) : number(other.number) { ++copies; }
  int number;
  static inline int copies = 0;
};
template <>
struct tandem::transfer<counted> {
  static void write(writer& w, const counted& c) { w(c.number); }
  static counted read(reader& r) { return counted(tandem::detail::read_value<int>(r)); }
};

namespace {

/// Counts what is allocated.
template <class T>
struct counting {
  using value_type = T;
  counting() = default;
  template <class U>
  counting(const counting<U>&) noexcept {}
  T* allocate(std::size_t n) {
    ++allocations;
    return std::allocator<T>().allocate(n);
  }
  void deallocate(T* memory, std::size_t n) noexcept { std::allocator<T>().deallocate(memory, n); }
  bool operator==(const counting&) const = default;
  static inline int allocations = 0;
};
using counted_numbers = std::vector<int, counting<int>>;
struct table {
  int width = 0;
  std::vector<counted_numbers, counting<counted_numbers>> rows = {};
};

using namespace std::chrono_literals;
using namespace tandem::literals;
using tandem::process_pool;

class process_pools : public tandem::test::checked {};

int square(int n) { return n * n; }
int value_of(const counted& c) { return c.number; }
int last_of(const table& t) { return t.rows.back().back() + t.width; }
int pointed_to(const std::unique_ptr<int>& number) { return *number; }
pid_t own_pid() { return ::getpid(); }
void nothing() {}
std::string twice(const std::string& text) { return text + text; }
std::vector<int> reversed(std::vector<int> numbers) { return {numbers.rbegin(), numbers.rend()}; }
int throw_it(int) { throw std::out_of_range("no such page"); }
struct unknown_error {};
int throw_unknown() { throw unknown_error(); }

/// Held closed by the test: a task waits until it opens.
struct gate {
  std::array<int, 2> ends{-1, -1};
  gate() { EXPECT_EQ(::pipe(ends.data()), 0); }
  ~gate() {
    open();
    ::close(ends[0]);
  }
  void open() {
    if (ends[1] >= 0) ::close(ends[1]);
    ends[1] = -1;
  }
  tandem::file_descriptor side() const { return tandem::file_descriptor(::dup(ends[0])); }
};
int pass(const tandem::file_descriptor& gate, int n) {
  char byte = 0;
  static_cast<void>(::read(gate.get(), &byte, 1));
  return n;
}
int until_stopped(std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait(lock, stop, [] { return false; });
  return 7;
}

TEST_F(process_pools, give_the_value) {
  process_pool pool(2);
  EXPECT_EQ(pool.submit(square, 9).get(), 81);
  EXPECT_EQ(pool.submit(twice, "ab").get(), "abab");
  pool.submit(nothing).get();
  EXPECT_EQ(pool.workers(), 2U);
  const pid_t worker = pool.submit(own_pid).get();
  EXPECT_NE(worker, ::getpid());
}

TEST_F(process_pools, give_many_values) {
  process_pool pool(2);
  std::vector<tandem::future<int>> all;
  for (int i = 0; i < 2000; ++i) all.push_back(pool.submit(square, i));
  for (int i = 0; i < 2000; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i * i);
  const auto stats = pool.stats();
  EXPECT_EQ(stats.submitted, 2000U);
  EXPECT_EQ(stats.done, 2000U);
  EXPECT_EQ(stats.pending, 0U);
  EXPECT_EQ(stats.workers.size(), 2U);
}

TEST_F(process_pools, do_what_nobody_waits_for) {
  tandem::shared_array<std::atomic<int>> count(1);
  {
    process_pool pool(2);
    for (int i = 0; i < 1000; ++i) {
      static_cast<void>(pool.submit([](const tandem::shared_array<std::atomic<int>>& c) { ++c.span()[0]; }, count));
    }
  }
  EXPECT_EQ(count.span()[0].load(), 1000);
}

TEST_F(process_pools, wait_for_all) {
  process_pool pool(2);
  std::vector<tandem::future<int>> all;
  for (int i = 0; i < 500; ++i) all.push_back(pool.submit(square, i));
  pool.wait();
  for (auto& f : all) EXPECT_TRUE(f.ready());
  EXPECT_TRUE(pool.wait_for(0s));
  gate closed;
  auto slow = pool.submit(pass, closed.side(), 3);
  EXPECT_FALSE(pool.wait_for(1ms));
  EXPECT_FALSE(slow.wait_for(1ms));
  closed.open();
  EXPECT_TRUE(pool.wait_for(1h));
  EXPECT_EQ(slow.get(), 3);
}

TEST_F(process_pools, carry_what_is_large) {
  process_pool pool(1);
  std::vector<int> numbers(3'000'000);
  std::iota(numbers.begin(), numbers.end(), 0);
  for (int round = 0; round < 3; ++round) {
    const std::vector<int> back = pool.submit(reversed, numbers).get();
    ASSERT_EQ(back.size(), numbers.size());
    EXPECT_EQ(back.front(), 2'999'999);
    EXPECT_EQ(back.back(), 0);
  }
  std::vector<tandem::future<std::vector<int>>> all;
  for (int i = 0; i < 40; ++i) all.push_back(pool.submit(reversed, std::vector<int>(20'000, i)));
  for (int i = 0; i < 40; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), std::vector<int>(20'000, i));
}

// Of values that are no single block, too: the worker does not know how large they get.
TEST_F(process_pools, carry_large_results_that_are_held) {
  process_pool pool(1);
  const auto texts = [](int n) {
    std::vector<std::string> all;
    for (int i = 0; i < 4'000; ++i) all.push_back(std::string(2'000, 'x') + std::to_string(i + n));
    return all;
  };
  std::vector<tandem::future<std::vector<std::string>>> all;
  for (int i = 0; i < 20; ++i) all.push_back(pool.submit(texts, i));
  for (auto& f : all) f.wait();
  for (int i = 0; i < 20; ++i) {
    const std::vector<std::string> one = all[static_cast<std::size_t>(i)].get();
    ASSERT_EQ(one.size(), 4'000U);
    EXPECT_EQ(one.back(), std::string(2'000, 'x') + std::to_string(3'999 + i));
  }
  EXPECT_THROW(pool.submit(
                       [](int n) -> std::vector<std::string> {
                         if (n == 0) return {};
                         throw std::range_error(std::string(6 << 20, 'x'));
                       },
                       1)
                   .get(),
               std::range_error);
}

TEST_F(process_pools, carry_handles) {
  process_pool pool(1);
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  tandem::file_descriptor out(ends[1]), in(ends[0]);
  auto wrote = pool.submit([](const tandem::file_descriptor& to) { return ::write(to.get(), "x", 1); }, out);
  out = {};
  EXPECT_EQ(wrote.get(), 1);
  char byte = 0;
  EXPECT_EQ(::read(in.get(), &byte, 1), 1);
  EXPECT_EQ(::read(in.get(), &byte, 1), 0);  // nobody else has the writing end any more
  auto made = pool.submit([](const tandem::file_descriptor& fd) { return fd; }, in).get();
  EXPECT_GE(made.get(), 0);
  auto many = pool.submit([](const std::vector<tandem::file_descriptor>& all) { return std::pair(all.size(), all); },
                          std::vector<tandem::file_descriptor>(300, made));
  EXPECT_EQ(many.get().second.size(), 300U);
}

TEST_F(process_pools, give_what_was_thrown) {
  process_pool pool(1);
  EXPECT_THROW(pool.submit(throw_it, 1).get(), std::out_of_range);
  EXPECT_THROW(pool.submit(throw_unknown).get(), tandem::remote_exception);
  EXPECT_EQ(pool.submit(square, 3).get(), 9);
  EXPECT_EQ(pool.stats().failed, 2U);
}

TEST_F(process_pools, refuse_when_closed) {
  process_pool pool(1);
  auto f = pool.submit(square, 2);
  pool.close();
  EXPECT_THROW(static_cast<void>(pool.submit(square, 2)), tandem::closed);
  EXPECT_THROW(static_cast<void>(pool.try_submit(square, 2)), tandem::closed);
  EXPECT_EQ(f.get(), 4);
}

TEST_F(process_pools, read_an_argument_where_it_is) {
  process_pool pool(1);
  const table numbers{2, {{1, 2}, {3, 4}}};
  const auto allocations = [] { return counting<int>::allocations + counting<counted_numbers>::allocations; };
  const int before = allocations();
  EXPECT_EQ(pool.submit(last_of, numbers).get(), 6);
  EXPECT_EQ(allocations(), before);
  // Where the user says what a copy is, there is one, as for a thread.
  const counted number(7);
  EXPECT_EQ(pool.submit(value_of, number).get(), 7);
  EXPECT_EQ(counted::copies, 1);
  auto moved = std::make_unique<int>(8);
  EXPECT_EQ(pool.submit(pointed_to, std::move(moved)).get(), 8);
  EXPECT_EQ(moved, nullptr);  // NOLINT: it was taken, as by a call
}

TEST_F(process_pools, take_no_more_than_may_wait) {
  process_pool pool({.workers = 1, .max_pending = 3});
  gate closed;
  std::vector<tandem::future<int>> all;
  all.push_back(pool.submit(pass, closed.side(), 1));
  EXPECT_TRUE(tandem::test::eventually([&] { return pool.stats().running == 1; }));
  for (int i = 0; i < 3; ++i) all.push_back(*pool.try_submit(square, i));
  EXPECT_FALSE(pool.try_submit(square, 9).has_value());
  std::thread opener([&] { closed.open(); });
  all.push_back(pool.submit(square, 5));  // waits
  opener.join();
  for (auto& f : all) f.wait();
}

TEST_F(process_pools, cancel_what_waits) {
  process_pool pool(1);
  gate closed;
  auto running = pool.submit(pass, closed.side(), 1);
  std::vector<tandem::future<int>> all;
  for (int i = 0; i < 200; ++i) all.push_back(pool.submit(square, i));
  EXPECT_TRUE(tandem::test::eventually([&] { return pool.stats().running == 1; }));
  for (auto& f : all) EXPECT_TRUE(f.cancel());
  for (auto& f : all) EXPECT_THROW(f.get(), tandem::cancelled);
  closed.open();
  EXPECT_EQ(running.get(), 1);
  EXPECT_FALSE(running.valid());
  EXPECT_EQ(pool.stats().cancelled, 200U);
}

TEST_F(process_pools, stop_what_runs) {
  process_pool pool(1);
  auto running = pool.submit(until_stopped);
  EXPECT_TRUE(tandem::test::eventually([&] { return pool.stats().running == 1; }));
  EXPECT_TRUE(running.cancel());
  EXPECT_EQ(running.get(), 7);
  auto own = pool.submit([] { return until_stopped(tandem::this_worker::stop_token()); });
  EXPECT_TRUE(tandem::test::eventually([&] { return pool.stats().running == 1; }));
  EXPECT_TRUE(own.cancel());
  EXPECT_EQ(own.get(), 7);
  EXPECT_EQ(pool.submit([](std::stop_token t) { return t.stop_requested(); }).get(), false);
}

TEST_F(process_pools, begin_the_higher_priority_first) {
  process_pool pool(1);
  gate closed;
  auto blocker = pool.submit(pass, closed.side(), 1);
  EXPECT_TRUE(tandem::test::eventually([&] { return pool.stats().running == 1; }));
  std::vector<tandem::future<long>> all;
  const auto stamp = [] { return std::chrono::steady_clock::now().time_since_epoch().count(); };
  for (const int priority : {0, 0, 2, 1, 2, -1}) all.push_back(pool.submit({.priority = priority}, stamp));
  closed.open();
  std::vector<long> at;
  for (auto& f : all) at.push_back(f.get());
  EXPECT_LT(at[2], at[4]);
  EXPECT_LT(at[4], at[3]);
  EXPECT_LT(at[3], at[0]);
  EXPECT_LT(at[0], at[1]);
  EXPECT_LT(at[1], at[5]);
}

TEST_F(process_pools, keep_tasks_of_one_key_on_one_worker_in_order) {
  process_pool pool(3);
  std::vector<tandem::future<std::pair<pid_t, long>>> all;
  for (int i = 0; i < 300; ++i) {
    all.push_back(pool.submit({.key = 5}, [] {
      return std::pair(::getpid(), static_cast<long>(std::chrono::steady_clock::now().time_since_epoch().count()));
    }));
  }
  std::pair<pid_t, long> last{0, 0};
  for (auto& f : all) {
    const auto got = f.get();
    if (last.first != 0) {
      EXPECT_EQ(got.first, last.first);
    }
    EXPECT_LE(last.second, got.second);
    last = got;
  }
}

TEST_F(process_pools, give_idle_workers_what_others_have_not_begun) {
  process_pool pool(2);
  gate first, second;
  auto a = pool.submit(pass, first.side(), 1);
  auto b = pool.submit(pass, second.side(), 2);
  EXPECT_TRUE(tandem::test::eventually([&] { return pool.stats().running == 2; }));
  std::vector<tandem::future<int>> all;
  for (int i = 0; i < 40; ++i) all.push_back(pool.submit(square, i));
  second.open();
  for (int i = 0; i < 40; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i * i);  // the other one does them
  first.open();
  EXPECT_EQ(a.get() + b.get(), 3);
}

TEST_F(process_pools, map_in_order_and_otherwise) {
  process_pool pool(2);
  std::vector<int> numbers(300);
  std::iota(numbers.begin(), numbers.end(), 0);
  int next = 0;
  for (int n : pool.map(square, numbers)) {
    EXPECT_EQ(n, next * next);
    ++next;
  }
  EXPECT_EQ(next, 300);
  std::set<std::size_t> seen;
  for (auto [index, n] : pool.map_unordered(square, numbers)) {
    EXPECT_EQ(static_cast<int>(index * index), n);
    seen.insert(index);
  }
  EXPECT_EQ(seen.size(), 300U);
  EXPECT_EQ(pool.transform_reduce(numbers, 0L, std::plus<>{}, square), 8955050L);
  pool.for_each([](int) {}, numbers);
  for ([[maybe_unused]] int n : pool.map(square, std::vector<int>{})) FAIL();
}

TEST_F(process_pools, show_their_tasks) {
  process_pool pool({.workers = 1, .name = "parser", .spares = 0});
  gate closed;
  auto running = pool.submit({.name = "parse"}, pass, closed.side(), 1);
  EXPECT_TRUE(tandem::test::eventually([&] { return pool.stats().running == 1; }));
  const auto stats = pool.stats();
  ASSERT_EQ(stats.workers.size(), 1U);
  EXPECT_EQ(stats.workers[0].name, "parser-1");
  EXPECT_EQ(stats.workers[0].task, "parse");
  const auto active = tandem::active_workers();
  ASSERT_EQ(active.size(), 1U);
  EXPECT_EQ(active[0].task, "parse");
  closed.open();
  EXPECT_EQ(running.get(), 1);
  EXPECT_EQ(pool.submit([] { return tandem::this_worker::name(); }).get(), "parser-1");
  EXPECT_EQ(pool.submit([] { return tandem::this_worker::attempt(); }).get(), 1U);
  EXPECT_TRUE(pool.submit({.deadline = 1h}, [] { return tandem::this_worker::deadline().has_value(); }).get());
  EXPECT_FALSE(pool.submit([] { return tandem::this_worker::deadline().has_value(); }).get());
}

TEST_F(process_pools, tell_others_of_their_ends) {
  process_pool pool(2);
  std::promise<int> called;
  auto f = pool.submit(square, 4);
  auto next = f.then([](int n) { return n + 1; });
  next.on_ready([&] { called.set_value(1); });
  EXPECT_EQ(next.get(), 17);
  EXPECT_EQ(called.get_future().get(), 1);
  gate closed;
  std::vector<tandem::future<int>> all;
  all.push_back(pool.submit(pass, closed.side(), 1));
  all.push_back(pool.submit(square, 2));
  EXPECT_EQ(tandem::wait_any(all), 1U);
  closed.open();
  std::size_t ended = 0;
  for ([[maybe_unused]] auto& each : tandem::as_completed(all)) ++ended;
  EXPECT_EQ(ended, 2U);
}

TEST_F(process_pools, serve_many_threads) {
  process_pool pool(2);
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) right += pool.submit(square, t + i).get() == (t + i) * (t + i);
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(right.load(), 1200);
}

TEST_F(process_pools, work_inside_their_workers) {
  process_pool pool(2);
  auto f = pool.submit([] {
    process_pool inner(2);
    return inner.submit(square, 5).get() + inner.submit(square, 6).get();
  });
  EXPECT_EQ(f.get(), 61);
}

TEST_F(process_pools, are_chosen_and_moved) {
  tandem::pool first(tandem::processes(2));
  auto f = first.submit(own_pid);
  tandem::pool second(std::move(first));
  EXPECT_NE(f.get(), ::getpid());
  EXPECT_EQ(second.workers(), 2U);
  second = tandem::pool(tandem::process_pool_options{.workers = 1, .name = "other"});
  EXPECT_EQ(second.submit([] { return tandem::this_worker::name(); }).get(), "other-1");
  tandem::pool third(tandem::threads(1));
  third = std::move(second);
  EXPECT_EQ(third.submit([] { return tandem::this_worker::name(); }).get(), "other-1");
  third = tandem::pool(tandem::inline_execution);
  EXPECT_EQ(third.submit(own_pid).get(), ::getpid());
}

TEST_F(process_pools, outlive_their_futures_and_are_outlived) {
  tandem::future<std::vector<int>> kept;
  {
    process_pool pool(1);
    static_cast<void>(pool.submit(square, 1));
    kept = pool.submit(reversed, std::vector<int>(100'000, 3));
  }
  EXPECT_EQ(kept.get().size(), 100'000U);
}

TEST_F(process_pools, recycle_without_loss) {
  process_pool pool({.workers = 2, .max_tasks_per_worker = 10});
  std::vector<tandem::future<pid_t>> all;
  for (int i = 0; i < 200; ++i) all.push_back(pool.submit(own_pid));
  std::set<pid_t> pids;
  for (auto& f : all) pids.insert(f.get());
  EXPECT_GE(pids.size(), 15U);
}

TEST_F(process_pools, recycle_by_age_without_loss) {
  process_pool pool({.workers = 2, .max_worker_age = 5ms});
  std::set<pid_t> pids;
  int next = 0;
  EXPECT_TRUE(tandem::test::eventually([&] {
    const auto [pid, n] = pool.submit([](int i) { return std::pair(::getpid(), i); }, next).get();
    EXPECT_EQ(n, next++);
    pids.insert(pid);
    return pids.size() >= 6;
  }));
  EXPECT_EQ(pool.stats().crashed, 0U);
  EXPECT_EQ(pool.stats().done, static_cast<std::size_t>(next));
}

TEST_F(process_pools, recycle_by_memory_without_loss) {
  std::size_t usual = 0;
  {
    process_pool pool(1);
    pool.submit(nothing).get();
    usual = pool.stats().workers.at(0).memory_bytes;
  }
  process_pool pool({.workers = 1, .max_worker_memory = usual + 64_MiB});
  const pid_t first = pool.submit(own_pid).get();
  EXPECT_EQ(pool.submit(own_pid).get(), first);
  const auto grow = [] {
    static std::vector<char> kept;
    kept.assign(160_MiB, 'x');
    return ::getpid();
  };
  auto grown = pool.submit(grow);
  std::vector<tandem::future<pid_t>> after;
  for (int i = 0; i < 20; ++i) after.push_back(pool.submit(own_pid));
  EXPECT_EQ(grown.get(), first);
  for (auto& each : after) EXPECT_NE(each.get(), first);
  EXPECT_EQ(pool.stats().crashed, 0U);
}

TEST_F(process_pools, shut_down_in_time) {
  process_pool pool({.workers = 1, .kill_grace = 10ms});
  gate closed;
  auto running = pool.submit(pass, closed.side(), 1);
  EXPECT_TRUE(tandem::test::eventually([&] { return pool.stats().running == 1; }));
  std::vector<tandem::future<int>> all;
  for (int i = 0; i < 5; ++i) all.push_back(pool.submit(square, i));
  const auto report = pool.shutdown({.cancel_pending = true, .within = 5ms});
  EXPECT_FALSE(report.in_time);
  EXPECT_EQ(report.killed, 1U);
  EXPECT_EQ(pool.shutdown().killed, 0U);  // of that call
  EXPECT_EQ(report.cancelled, 6U);
  EXPECT_THROW(running.get(), tandem::cancelled);
  process_pool other(1);
  auto f = other.submit(square, 3);
  EXPECT_TRUE(other.shutdown().in_time);
  EXPECT_EQ(f.get(), 9);
}

TEST_F(process_pools, shrink_when_idle_though_tasks_have_keys) {
  process_pool pool({.workers = 3, .min_workers = 1, .idle_timeout = 1ms, .spares = 0});
  for (std::uint64_t key = 0; key < 12; ++key) EXPECT_EQ(pool.submit({.key = key}, square, 3).get(), 9);
  EXPECT_TRUE(tandem::test::eventually([&] { return pool.stats().workers.size() == 1; }));
}

TEST_F(process_pools, keep_nothing_of_what_was_cancelled) {
  gate closed;
  process_pool pool({.workers = 1, .max_pending = 100});
  std::vector<tandem::future<int>> all;
  while (auto f = pool.try_submit(pass, closed.side(), 1)) all.push_back(std::move(*f));
  const auto used = [] { return ::mallinfo2().uordblks; };
  const std::size_t before = used();
  for (int i = 0; i < 20'000; ++i) {
    EXPECT_TRUE(all.back().cancel());
    all.back() = pool.submit(pass, closed.side(), 1);
  }
  EXPECT_LT(used(), before + (1 << 20));
  closed.open();
  for (auto& f : all) EXPECT_EQ(f.get(), 1);
}

TEST_F(process_pools, belong_to_the_program_that_made_them) {
  gate closed;
  process_pool pool(1);
  auto running = pool.submit(pass, closed.side(), 1);
  auto waits = pool.submit(square, 5);
  const pid_t child = ::fork();
  if (child == 0) {
    bool is_refused = false;
    try {
      waits.wait();
    } catch (const tandem::error&) {
      is_refused = true;
    }
    ::_exit(!waits.cancel() && !running.cancel() && is_refused ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  closed.open();
  EXPECT_EQ(running.get(), 1);
  EXPECT_EQ(waits.get(), 25);
}

TEST_F(process_pools, do_not_let_a_callback_wait_for_room) {
  gate closed;
  process_pool pool({.workers = 1, .max_pending = 1});
  process_pool other(1);
  std::promise<bool> refused;
  auto first = pool.submit(pass, closed.side(), 1);
  EXPECT_TRUE(tandem::test::eventually([&] { return pool.stats().running == 1; }));
  auto second = pool.submit(square, 2);
  gate later;
  auto told = other.submit(pass, later.side(), 1);
  told.on_ready([&] {
    try {
      pool.submit(square, 3).get();
      refused.set_value(false);
    } catch (const std::system_error& e) {
      refused.set_value(e.code() == std::errc::resource_deadlock_would_occur);
    }
  });
  later.open();
  EXPECT_TRUE(refused.get_future().get());
  closed.open();
  EXPECT_EQ(second.get(), 4);
}

TEST_F(process_pools, shrink_when_idle_and_grow_again) {
  const std::string path = testing::TempDir() + "tandem_pool_" + std::to_string(::getpid());
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  // Opens once the test has opened the other side.
  const auto wait_there = [](const std::string& fifo) { return static_cast<bool>(std::ifstream(fifo)); };
  process_pool pool({.workers = 3, .min_workers = 1, .idle_timeout = 1ms, .spares = 0});
  EXPECT_TRUE(tandem::test::eventually([&] { return pool.stats().workers.size() == 1; }));
  std::vector<tandem::future<bool>> all;
  for (int i = 0; i < 3; ++i) all.push_back(pool.submit(wait_there, path));
  EXPECT_TRUE(tandem::test::eventually([&] { return pool.stats().running == 3; }));
  {
    const std::ofstream opened(path);
    for (auto& f : all) EXPECT_TRUE(f.get());
  }
  EXPECT_TRUE(tandem::test::eventually([&] { return pool.stats().workers.size() == 1; }));
  ::unlink(path.c_str());
}

}  // namespace
