// Pools of threads beside their peers: oneTBB, Boost.Asio, std::async, and a plain queue with a mutex.
#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#ifdef TANDEM_BENCH_TBB
#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>
#endif

#include <tandem/thread_pool.hpp>

#include "measure.hpp"

namespace {

using bench::contestant;

/// What one writes by hand.
class plain_pool {
 public:
  explicit plain_pool(unsigned workers) {
    for (unsigned i = 0; i < workers; ++i) threads_.emplace_back([this] { serve(); });
  }
  ~plain_pool() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    for (auto& t : threads_) t.join();
  }
  template <class F>
  void post(F f) {
    {
      const std::lock_guard lock(mutex_);
      tasks_.emplace_back(std::move(f));
    }
    changed_.notify_one();
  }
  template <class F>
  auto submit(F f) {
    auto task = std::make_shared<std::packaged_task<std::invoke_result_t<F>()>>(std::move(f));
    auto result = task->get_future();
    post([task] { (*task)(); });
    return result;
  }

 private:
  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return ending_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

double ns_each(bench::steady::time_point start, int count) { return bench::micros_since(start) * 1000 / count; }

int fib_tandem(tandem::thread_pool& pool, int n) {
  if (n < 2) return n;
  auto left = pool.submit([&pool, n] { return fib_tandem(pool, n - 1); });
  const int right = fib_tandem(pool, n - 2);
  return left.get() + right;
}
#ifdef TANDEM_BENCH_TBB
int fib_tbb(int n) {
  if (n < 2) return n;
  int left = 0;
  tbb::task_group group;
  group.run([&left, n] { left = fib_tbb(n - 1); });
  const int right = fib_tbb(n - 2);
  group.wait();
  return left + right;
}
#endif

constexpr int fib_of = 25;
constexpr int forks = 121'392;  // calls of fib() with n >= 2

void count_down(std::atomic<int>& left) { left.fetch_sub(1, std::memory_order_relaxed); }
void await(const std::atomic<int>& left) {
  while (left.load(std::memory_order_acquire) != 0) std::this_thread::yield();
}

std::vector<contestant> without_result(unsigned workers, int count) {
  std::vector<contestant> all;
  all.push_back({"tandem::thread_pool", [=] {
                   tandem::thread_pool pool(workers);
                   const auto start = bench::steady::now();
                   for (int i = 0; i < count; ++i) pool.submit([] {});
                   pool.wait();
                   return ns_each(start, count);
                 }});
#ifdef TANDEM_BENCH_TBB
  all.push_back({"tbb::task_group", [=] {
                   tbb::global_control limit(tbb::global_control::max_allowed_parallelism, workers + 1);
                   tbb::task_group group;
                   const auto start = bench::steady::now();
                   for (int i = 0; i < count; ++i) group.run([] {});
                   group.wait();
                   return ns_each(start, count);
                 }});
#endif
  all.push_back({"boost::asio::post", [=] {
                   boost::asio::thread_pool pool(workers);
                   const auto start = bench::steady::now();
                   for (int i = 0; i < count; ++i) boost::asio::post(pool, [] {});
                   pool.join();
                   return ns_each(start, count);
                 }});
  all.push_back({"mutex, condition, deque", [=] {
                   std::atomic<int> left{count};
                   plain_pool pool(workers);
                   const auto start = bench::steady::now();
                   for (int i = 0; i < count; ++i) pool.post([&left] { count_down(left); });
                   await(left);
                   return ns_each(start, count);
                 }});
  return all;
}

std::vector<contestant> with_result(unsigned workers, int count) {
  std::vector<contestant> all;
  all.push_back({"tandem::thread_pool", [=] {
                   tandem::thread_pool pool(workers);
                   std::vector<tandem::future<int>> results;
                   results.reserve(static_cast<std::size_t>(count));
                   const auto start = bench::steady::now();
                   for (int i = 0; i < count; ++i) results.push_back(pool.submit([i] { return i; }));
                   long sum = 0;
                   for (auto& f : results) sum += f.get();
                   return sum < 0 ? 0 : ns_each(start, count);
                 }});
  all.push_back({"boost::asio use_future", [=] {
                   boost::asio::thread_pool pool(workers);
                   std::vector<std::future<int>> results;
                   results.reserve(static_cast<std::size_t>(count));
                   const auto start = bench::steady::now();
                   for (int i = 0; i < count; ++i)
                     results.push_back(boost::asio::post(pool, boost::asio::use_future([i] { return i; })));
                   long sum = 0;
                   for (auto& f : results) sum += f.get();
                   return sum < 0 ? 0 : ns_each(start, count);
                 }});
  all.push_back({"mutex, packaged_task", [=] {
                   plain_pool pool(workers);
                   std::vector<std::future<int>> results;
                   results.reserve(static_cast<std::size_t>(count));
                   const auto start = bench::steady::now();
                   for (int i = 0; i < count; ++i) results.push_back(pool.submit([i] { return i; }));
                   long sum = 0;
                   for (auto& f : results) sum += f.get();
                   return sum < 0 ? 0 : ns_each(start, count);
                 }});
  all.push_back({"std::async", [=] {
                   const int few = std::min(count, 2000);
                   const auto start = bench::steady::now();
                   long sum = 0;
                   for (int i = 0; i < few; ++i) sum += std::async(std::launch::async, [i] { return i; }).get();
                   return sum < 0 ? 0 : ns_each(start, few);
                 }});
  return all;
}

std::vector<contestant> round_trips(unsigned workers) {
  constexpr int trips = 20'000;
  std::vector<contestant> all;
  all.push_back({"tandem::thread_pool", [=] {
                   tandem::thread_pool pool(workers);
                   const auto start = bench::steady::now();
                   for (int i = 0; i < trips; ++i) pool.submit([i] { return i; }).get();
                   return ns_each(start, trips);
                 }});
  all.push_back({"mutex, packaged_task", [=] {
                   plain_pool pool(workers);
                   const auto start = bench::steady::now();
                   for (int i = 0; i < trips / 4; ++i) pool.submit([i] { return i; }).get();
                   return ns_each(start, trips / 4);
                 }});
  return all;
}

std::vector<contestant> fork_join(unsigned workers) {
  std::vector<contestant> all;
  all.push_back({"tandem::thread_pool", [=] {
                   tandem::thread_pool pool(workers);
                   const auto start = bench::steady::now();
                   pool.submit([&pool] { return fib_tandem(pool, fib_of); }).get();
                   return ns_each(start, forks);
                 }});
#ifdef TANDEM_BENCH_TBB
  all.push_back({"tbb::task_group", [=] {
                   tbb::global_control limit(tbb::global_control::max_allowed_parallelism, workers);
                   tbb::task_arena arena(static_cast<int>(workers));
                   const auto start = bench::steady::now();
                   arena.execute([] { fib_tbb(fib_of); });
                   return ns_each(start, forks);
                 }});
#endif
  return all;
}

std::string json;

void report(const char* what, unsigned workers, std::vector<contestant> all, int rounds) {
  bench::interleave(all, rounds);
  fmt::print("{}, {} worker{}\n", what, workers, workers == 1 ? "" : "s");
  for (const contestant& c : all) {
    fmt::print("  {:28} {:9.1f} ns  ({:.1f} to {:.1f})  tandem is {:.2f} of it\n", c.name, c.mid(), c.least(), c.most(),
               bench::median(bench::ratios(all.front(), c)));
    json += fmt::format(R"({}{{"what": "{}", "workers": {}, "name": "{}", "median_ns": {:.2f}}})",
                        json.empty() ? "" : ",\n", what, workers, c.name, c.mid());
  }
}

}  // namespace

int main(int argc, char** argv) {
  bench::arguments arguments(argc, argv);
  const std::string file = arguments.text("--json", "");
  const int rounds = arguments.number("--rounds", 7);
  const int count = arguments.number("--tasks", 1'000'000);
  arguments.finish();
  const double line = bench::line_round_trip_ns();
  fmt::print("a cache line there and back: {:.0f} ns ({})\n", line, bench::distance(line));
  for (const unsigned workers : {1U, 2U}) {
    report("empty tasks", workers, without_result(workers, count), rounds);
    report("tasks with a result", workers, with_result(workers, count), rounds);
    report("one task there and back", workers, round_trips(workers), rounds);
    report("fork and join, fib(25)", workers, fork_join(workers), rounds);
  }
  bench::write_file(file, "[" + json + "]\n");
}
