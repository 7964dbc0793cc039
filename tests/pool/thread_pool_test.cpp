// What is particular to a pool of threads.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <future>
#include <latch>
#include <memory>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>

#include <tandem/pool.hpp>
#include <tandem/thread_pool.hpp>

#include "support/fixture.hpp"

namespace {

using namespace std::chrono_literals;

class thread_pool : public tandem::test::checked {};

/// Keeps the only worker of a pool busy until it is opened, or destroyed.
class gate {
 public:
  explicit gate(tandem::thread_pool& pool) {
    std::promise<void> begun;
    auto begins = begun.get_future();
    held_ = pool.submit([this, &begun] {
      begun.set_value();
      open_.get_future().wait();
    });
    begins.wait();
  }
  ~gate() { open(); }
  void open() {
    if (!std::exchange(is_open_, true)) {
      open_.set_value();
      held_.wait();
    }
  }

 private:
  std::promise<void> open_;
  tandem::future<void> held_;
  bool is_open_ = false;
};

int until_stopped(std::stop_token stop) {
  std::mutex m;
  std::condition_variable_any changed;
  std::unique_lock lock(m);
  changed.wait(lock, stop, [] { return false; });
  return 7;
}

TEST_F(thread_pool, takes_whatever_can_be_called) {
  tandem::thread_pool pool(2);
  int count = 0;
  pool.submit([&count] { count = 5; }).get();
  EXPECT_EQ(count, 5);
  int& same = pool.submit([&count]() -> int& { return count; }).get();
  EXPECT_EQ(&same, &count);
  auto moved = pool.submit([p = std::make_unique<int>(3)] { return *p; });
  EXPECT_EQ(moved.get(), 3);
  auto owned = pool.submit([](std::unique_ptr<int> p) { return p; }, std::make_unique<int>(4)).get();
  EXPECT_EQ(*owned, 4);
  std::vector<std::unique_ptr<int>> in;
  for (int i = 0; i < 10; ++i) in.push_back(std::make_unique<int>(i));
  int sum = 0;
  for (auto& p : pool.map([](std::unique_ptr<int> p) { return p; }, std::move(in))) sum += *p;
  EXPECT_EQ(sum, 45);
}

TEST_F(thread_pool, runs_as_many_tasks_at_once_as_it_has_workers) {
  tandem::thread_pool pool(4);
  EXPECT_EQ(pool.workers(), 4u);
  std::barrier all(4);
  std::vector<tandem::future<void>> tasks;
  for (int i = 0; i < 40; ++i) tasks.push_back(pool.submit([&all] { all.arrive_and_wait(); }));
  tandem::wait_all(tasks);
}

TEST_F(thread_pool, of_one_worker_runs_one_after_the_other_in_order_and_elsewhere) {
  tandem::thread_pool pool(1);
  std::vector<int> order;
  std::set<std::thread::id> threads;
  std::vector<tandem::future<void>> tasks;
  for (int i = 0; i < 1000; ++i) {
    tasks.push_back(pool.submit([&, i] {
      order.push_back(i);
      threads.insert(std::this_thread::get_id());
    }));
  }
  for (auto& f : tasks) f.get();
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ(threads.size(), 1u);
  EXPECT_FALSE(threads.contains(std::this_thread::get_id()));
}

int fib(tandem::thread_pool& pool, int n) {
  if (n < 2) return n;
  auto left = pool.submit(fib, std::ref(pool), n - 1);
  const int right = fib(pool, n - 2);
  return left.get() + right;
}

TEST_F(thread_pool, tasks_wait_for_tasks_of_their_own_pool) {
  for (const unsigned workers : {1u, 2u, 3u}) {
    tandem::thread_pool pool(workers);
    EXPECT_EQ(pool.submit(fib, std::ref(pool), 16).get(), 987);
  }
}

TEST_F(thread_pool, a_task_that_waits_runs_nothing_that_waits_for_it) {
  tandem::thread_pool pool(2);
  std::promise<void> go;
  auto may_go = go.get_future();
  auto slow = pool.submit([&] {
    may_go.wait();
    return 1;
  });
  auto middle = pool.submit([&] { return slow.get() + 1; });
  auto last = pool.submit([&] { return middle.get() + 1; });
  go.set_value();
  EXPECT_EQ(last.get(), 3);
}

TEST_F(thread_pool, tasks_wait_for_any_and_all_of_their_own) {
  tandem::thread_pool pool(1);
  const int sum = pool.submit([&pool] {
                        std::vector<tandem::future<int>> all;
                        for (int i = 0; i < 10; ++i) all.push_back(pool.submit([i] { return i; }));
                        int total = 0;
                        for (auto& f : tandem::as_completed(all)) total += f.get();
                        std::vector<tandem::future<int>> more;
                        more.push_back(pool.submit([] { return 100; }));
                        return total + more[tandem::wait_any(more)].get();
                      })
                      .get();
  EXPECT_EQ(sum, 145);
}

TEST_F(thread_pool, begins_the_urgent_first) {
  tandem::thread_pool pool(1);
  gate busy(pool);
  std::vector<int> order;
  std::vector<tandem::future<void>> tasks;
  for (const int priority : {0, -1, 5, 0, 2, 5}) {
    tasks.push_back(pool.submit({.priority = priority}, [&order, priority] { order.push_back(priority); }));
  }
  busy.open();
  tandem::wait_all(tasks);
  EXPECT_THAT(order, testing::ElementsAre(5, 5, 2, 0, 0, -1));
}

TEST_F(thread_pool, tasks_of_one_key_run_in_order_one_at_a_time) {
  tandem::thread_pool pool(4);
  std::array<std::vector<int>, 3> order;
  std::array<std::atomic<int>, 3> inside{};
  std::atomic<bool> overlapped{false};
  for (int i = 0; i < 3000; ++i) {
    const auto key = static_cast<std::size_t>(i % 3);
    pool.submit({.key = key}, [&, key, i] {
      if (inside[key].fetch_add(1) != 0) overlapped = true;
      order[key].push_back(i);
      inside[key].fetch_sub(1);
    });
  }
  pool.wait();
  EXPECT_FALSE(overlapped);
  for (const auto& each : order) {
    EXPECT_EQ(each.size(), 1000u);
    EXPECT_TRUE(std::is_sorted(each.begin(), each.end()));
  }
}

TEST_F(thread_pool, submit_waits_while_too_many_are_pending) {
  tandem::thread_pool pool({.workers = 1, .max_pending = 2});
  gate busy(pool);
  pool.submit([] {});
  pool.submit([] {});
  EXPECT_FALSE(pool.try_submit([] {}).has_value());
  EXPECT_EQ(pool.stats().pending, 2u);
  std::atomic<bool> submitted{false};
  std::thread other([&] {
    pool.submit([] {}).get();
    submitted = true;
  });
  EXPECT_TRUE(tandem::test::eventually([&] { return pool.stats().running == 1; }));
  EXPECT_FALSE(submitted);
  busy.open();
  other.join();
  EXPECT_TRUE(submitted);
}

TEST_F(thread_pool, a_submitter_goes_on_once_there_is_room_for_one) {
  tandem::thread_pool pool({.workers = 4, .max_pending = 8});
  gate first(pool), second(pool), third(pool), fourth(pool);
  std::atomic<bool> submitted{false};
  pool.submit([&] {
    while (!submitted) std::this_thread::yield();  // takes the only worker
  });
  for (int i = 0; i < 7; ++i) pool.submit([] {});
  EXPECT_FALSE(pool.try_submit([] {}).has_value());
  std::thread other([&] {
    pool.submit([] {});
    submitted = true;
  });
  first.open();
  other.join();
}

template <std::size_t Alignment, std::size_t Bytes>
struct alignas(Alignment) aligned_bytes {
  std::array<char, Bytes> bytes{};
};
template <std::size_t Alignment, std::size_t Bytes>
bool are_aligned(tandem::thread_pool& pool) {
  const aligned_bytes<Alignment, Bytes> sample;
  const auto is_aligned = [sample] {
    const auto* at = &sample;
    asm volatile("" : "+r"(at));  // what the compiler takes for granted
    return reinterpret_cast<std::uintptr_t>(at) % Alignment == 0;
  };
  std::vector<tandem::future<bool>> all;
  for (int i = 0; i < 50; ++i) all.push_back(pool.submit(is_aligned));
  return std::all_of(all.begin(), all.end(), [](auto& f) { return f.get(); });
}

TEST_F(thread_pool, tasks_lie_as_what_they_hold_asks) {
  tandem::thread_pool pool(1);
  EXPECT_TRUE((are_aligned<32, 64>(pool)));
  EXPECT_TRUE((are_aligned<64, 640>(pool)));
  EXPECT_TRUE((are_aligned<128, 128>(pool)));
}

TEST_F(thread_pool, cancelling_makes_room) {
  tandem::thread_pool pool({.workers = 1, .max_pending = 2});
  gate busy(pool);
  auto first = pool.submit([] {});
  auto second = pool.submit([] {});
  EXPECT_FALSE(pool.try_submit([] {}));
  EXPECT_TRUE(first.cancel());
  EXPECT_FALSE(first.cancel());
  auto third = pool.try_submit([] { return 3; });
  ASSERT_TRUE(third);
  busy.open();
  EXPECT_EQ(third->get(), 3);
  EXPECT_THROW(first.get(), tandem::cancelled);
  EXPECT_EQ(pool.stats().cancelled, 1u);
}

TEST_F(thread_pool, cancelling_what_has_a_priority_or_a_key_makes_room) {
  tandem::thread_pool pool({.workers = 1, .max_pending = 3});
  gate busy(pool);
  const auto first_of_key = pool.submit({.key = 1}, [] {});
  auto urgent = pool.submit({.priority = 1}, [] {});
  auto keyed = pool.submit({.key = 1}, [] {});
  EXPECT_FALSE(pool.try_submit([] {}));
  EXPECT_TRUE(urgent.cancel());
  EXPECT_TRUE(keyed.cancel());
  EXPECT_TRUE(pool.try_submit([] {}));
  EXPECT_TRUE(pool.try_submit([] {}));
  EXPECT_FALSE(pool.try_submit([] {}));
}

TEST_F(thread_pool, a_task_may_submit_more_than_may_wait) {
  tandem::thread_pool pool({.workers = 1, .max_pending = 4});
  std::atomic<int> count{0};
  pool.submit([&] {
        for (int i = 0; i < 1000; ++i) pool.submit([&count] { ++count; });
      })
      .get();
  pool.wait();
  EXPECT_EQ(count, 1000);
}

TEST_F(thread_pool, cancel_removes_what_has_not_begun) {
  tandem::thread_pool pool(1);
  gate busy(pool);
  auto held = std::make_shared<int>(1);
  bool ran = false;
  std::vector<tandem::future<void>> tasks;
  for (int i = 0; i < 50; ++i) tasks.push_back(pool.submit([held, &ran] { ran = true; }));
  for (auto& f : tasks) EXPECT_TRUE(f.cancel());
  EXPECT_EQ(held.use_count(), 1);
  busy.open();
  pool.wait();
  EXPECT_FALSE(ran);
  for (auto& f : tasks) EXPECT_THROW(f.get(), tandem::cancelled);
}

TEST_F(thread_pool, cancel_asks_what_runs_to_stop_and_its_value_stands) {
  tandem::thread_pool pool(1);
  std::promise<void> begun;
  auto with_token = pool.submit([&](std::stop_token stop) {
    begun.set_value();
    return until_stopped(stop);
  });
  begun.get_future().wait();
  EXPECT_TRUE(with_token.cancel());
  EXPECT_EQ(with_token.get(), 7);
  std::promise<void> again;
  auto asking = pool.submit([&] {
    again.set_value();
    return until_stopped(tandem::this_worker::stop_token());
  });
  again.get_future().wait();
  EXPECT_TRUE(asking.cancel(tandem::hard));
  EXPECT_EQ(asking.get(), 7);
}

TEST_F(thread_pool, cancel_wakes_who_waits) {
  tandem::thread_pool pool(1);
  gate busy(pool);
  auto f = pool.submit([] {});
  std::thread waiter([&] { f.wait(); });
  EXPECT_TRUE(f.cancel());
  waiter.join();
}

TEST_F(thread_pool, a_task_past_its_deadline_is_overdue_until_it_ends) {
  tandem::thread_pool pool(1);
  std::promise<void> let_go;
  auto f = pool.submit({.name = "late", .deadline = 5ms}, [&] {
    let_go.get_future().wait();
    return 3;
  });
  EXPECT_THROW(f.get(), tandem::timed_out);
  auto stats = pool.stats();
  EXPECT_EQ(stats.overdue, 1u);
  EXPECT_EQ(stats.timed_out, 1u);
  EXPECT_EQ(stats.running, 1u);
  ASSERT_EQ(stats.workers.size(), 1u);
  EXPECT_EQ(stats.workers[0].task, "late");
  let_go.set_value();
  pool.wait();
  stats = pool.stats();
  EXPECT_EQ(stats.overdue, 0u);
  EXPECT_EQ(stats.done, 0u);
}

TEST_F(thread_pool, a_failing_initializer_fails_the_pool_once) {
  std::atomic<int> calls{0};
  tandem::thread_pool pool({.workers = 2, .initializer = [&] {
                              ++calls;
                              throw std::domain_error("no");
                            }});
  EXPECT_TRUE(tandem::test::eventually([&] { return calls == 2; }));
  EXPECT_TRUE(tandem::test::eventually([&] {
    try {
      pool.submit([] {}).get();
    } catch (const std::domain_error&) {
      return true;
    }
    return false;
  }));
  EXPECT_EQ(calls, 2);
}

TEST_F(thread_pool, the_initializer_runs_once_in_each_worker) {
  std::mutex m;
  std::set<pid_t> ids;
  int calls = 0;
  {
    tandem::thread_pool pool({.workers = 3, .name = "crew", .initializer = [&] {
                                const std::lock_guard lock(m);
                                ids.insert(tandem::this_worker::id());
                                ++calls;
                              }});
    std::barrier all(3);
    std::vector<tandem::future<std::string>> names;
    for (int i = 0; i < 3; ++i) {
      names.push_back(pool.submit([&all] {
        all.arrive_and_wait();
        return tandem::this_worker::is_thread() ? tandem::this_worker::name() : "";
      }));
    }
    std::set<std::string> found;
    for (auto& f : names) found.insert(f.get());
    EXPECT_EQ(found, (std::set<std::string>{"crew-1", "crew-2", "crew-3"}));
  }
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(ids.size(), 3u);
}

TEST_F(thread_pool, shutdown_cancels_what_waits_and_reports) {
  tandem::thread_pool pool(1);
  std::promise<void> begun;
  auto runs = pool.submit([&](std::stop_token stop) {
    begun.set_value();
    return until_stopped(stop);
  });
  begun.get_future().wait();
  std::vector<tandem::future<void>> waits;
  for (int i = 0; i < 10; ++i) waits.push_back(pool.submit([] {}));
  waits.push_back(pool.submit({.key = 1}, [] {}));
  waits.push_back(pool.submit({.key = 1}, [] {}));
  waits.push_back(pool.submit({.priority = 1}, [] {}));
  const auto report = pool.shutdown({.cancel_pending = true, .within = 1ms});
  EXPECT_FALSE(report.in_time);
  EXPECT_EQ(report.cancelled, 13u);
  EXPECT_EQ(report.killed, 0u);
  for (auto& f : waits) EXPECT_THROW(f.get(), tandem::cancelled);
  EXPECT_EQ(runs.get(), 7);  // it was asked to stop
  EXPECT_TRUE(pool.shutdown().in_time);
}

TEST_F(thread_pool, shutdown_stops_a_task_that_asks_for_its_token_later) {
  tandem::thread_pool pool(1);
  std::promise<void> begun, may_ask;
  auto runs = pool.submit([&] {
    begun.set_value();
    may_ask.get_future().wait();
    return until_stopped(tandem::this_worker::stop_token());
  });
  begun.get_future().wait();
  EXPECT_FALSE(pool.shutdown({.cancel_pending = true, .within = 1ms}).in_time);
  may_ask.set_value();
  EXPECT_EQ(runs.get(), 7);
}

TEST_F(thread_pool, belongs_to_the_program_that_made_it) {
  tandem::thread_pool pool(1);
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      pool.submit([] {});
    } catch (const tandem::error&) {
      ::_exit(0);
    }
    ::_exit(1);
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(thread_pool, waits_for_all_at_its_end) {
  std::atomic<int> count{0};
  {
    tandem::thread_pool pool(2);
    for (int i = 0; i < 1000; ++i) pool.submit([&count] { ++count; });
  }
  EXPECT_EQ(count, 1000);
}

TEST_F(thread_pool, waiting_for_itself_is_an_error) {
  tandem::thread_pool pool(1);
  EXPECT_THROW(pool.submit([&pool] { pool.wait(); }).get(), std::system_error);
}

TEST_F(thread_pool, idle_workers_sleep) {
  tandem::thread_pool pool(2);
  pool.submit([] {}).get();
  for (const auto& worker : pool.stats().workers)
    EXPECT_TRUE(tandem::test::eventually([&] { return tandem::test::sleeps_at_futex(worker.pid); }));
}

TEST_F(thread_pool, many_threads_submit_and_wait) {
  tandem::thread_pool pool(2);
  std::atomic<long> sum{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) sum += pool.submit([i] { return i; }).get();
    });
  }
  for (auto& t : callers) t.join();
  EXPECT_EQ(sum, 4L * 1999 * 1000);
}

TEST_F(thread_pool, leaving_a_map_early_cancels_the_rest) {
  tandem::thread_pool pool(1);
  std::atomic<int> calls{0};
  for ([[maybe_unused]] int n : pool.map(
           [&](int i) {
             ++calls;
             return i;
           },
           std::vector<int>(10'000), {.window = 4})) {
    break;
  }
  pool.wait();
  EXPECT_LE(calls, 4);
}

TEST_F(thread_pool, a_pool_can_be_chosen_and_moved) {
  tandem::pool first(tandem::threads(2));
  auto f = first.submit([](int n) { return n + 1; }, 1);
  tandem::pool second(std::move(first));
  EXPECT_EQ(f.get(), 2);
  EXPECT_EQ(second.submit([](int n) { return n + 1; }, 2).get(), 3);
  second = tandem::pool(tandem::inline_execution);
  EXPECT_EQ(second.submit([] { return tandem::this_worker::id(); }).get(), tandem::this_worker::id());
}

TEST_F(thread_pool, a_future_outlives_its_pool) {
  std::optional<tandem::future<std::string>> f;
  {
    tandem::thread_pool pool(1);
    f = pool.submit([] { return std::string(100, 'x'); });
  }
  EXPECT_EQ(f->get().size(), 100u);
}

}  // namespace
