// Many tasks over a few workers: futures, map, deadlines, and what an executor of another library becomes.
#include <chrono>
#include <functional>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <tandem/coroutine.hpp>
#include <tandem/init.hpp>
#include <tandem/pool.hpp>
#include <tandem/thread_pool.hpp>

namespace {

using namespace std::chrono_literals;

int square(int n) { return n * n; }

// snippet: submit
void submit(tandem::thread_pool& pool) {
  tandem::future<int> f = pool.submit(square, 7);
  tandem::future<int> g = pool.submit({.name = "square", .deadline = 5s, .priority = 1}, square, 8);
  fmt::print("{} {}\n", f.get(), g.get());
}
// snippet end

// snippet: map
void map(tandem::thread_pool& pool) {
  std::vector<int> numbers(10);
  std::iota(numbers.begin(), numbers.end(), 1);
  for (int n : pool.map(square, numbers)) fmt::print("{} ", n);
  fmt::print("\n{}\n", pool.transform_reduce(numbers, 0, std::plus<>{}, square));
}
// snippet end

// snippet: coroutine
tandem::future<int> hypotenuse_squared(tandem::thread_pool& pool, int a, int b) {
  auto first = pool.submit(square, a);  // both run meanwhile
  auto second = pool.submit(square, b);
  co_return co_await first + co_await second;
}
// snippet end

// snippet: post
/// For a library that asks for something to post work to.
class poster {
 public:
  explicit poster(tandem::thread_pool& pool) : pool_(&pool) {}
  template <class F>
  void post(F&& f) const {
    pool_->submit(std::forward<F>(f));
  }

 private:
  tandem::thread_pool* pool_;
};
// snippet end

// snippet: chosen
int run(tandem::pool pool) { return pool.submit(square, 9).get(); }
tandem::pool make_pool(std::string_view where) {
  if (where == "processes") return tandem::pool(tandem::processes(2));
  if (where == "threads") return tandem::pool(tandem::threads(2));
  return tandem::pool(tandem::inline_execution);  // in the caller, to debug
}
// snippet end

}  // namespace

int main() {
  tandem::init();
  tandem::thread_pool pool(2);
  submit(pool);
  map(pool);
  fmt::print("{}\n", hypotenuse_squared(pool, 3, 4).get());
  poster(pool).post([] { fmt::print("posted\n"); });
  pool.wait();
  fmt::print("{} {} {}\n", run(make_pool("processes")), run(make_pool("threads")), run(make_pool("here")));
}
