// What all pools have in common: one suite, run for each kind.
#include <future>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>

#include <tandem/executor.hpp>
#include <tandem/pool.hpp>
#include <tandem/process_pool.hpp>
#include <tandem/thread_pool.hpp>

#include "support/fixture.hpp"

namespace {

using namespace std::chrono_literals;

struct in_threads {
  static constexpr bool sees_memory = true;
  static constexpr const char* name = "thread_pool";
  static tandem::thread_pool make() { return tandem::thread_pool(2); }
};
struct in_processes {
  static constexpr bool sees_memory = false;
  static constexpr const char* name = "process_pool";
  static tandem::process_pool make() { return tandem::process_pool(2); }
};
struct in_pool_of_threads {
  static constexpr bool sees_memory = true;
  static constexpr const char* name = "pool_of_threads";
  static tandem::pool make() { return tandem::pool(tandem::threads(2)); }
};
struct in_pool_of_processes {
  static constexpr bool sees_memory = false;
  static constexpr const char* name = "pool_of_processes";
  static tandem::pool make() { return tandem::pool(tandem::processes(2)); }
};
struct in_caller {
  static constexpr bool sees_memory = true;
  static constexpr const char* name = "pool_in_the_caller";
  static tandem::pool make() { return tandem::pool(tandem::inline_execution); }
};
struct kind_names {
  template <class T>
  static std::string GetName(int) {
    return T::name;
  }
};

template <class Kind>
class pools : public tandem::test::checked {};
using kinds = testing::Types<in_threads, in_processes, in_pool_of_threads, in_pool_of_processes, in_caller>;
TYPED_TEST_SUITE(pools, kinds, kind_names);

int square(int n) { return n * n; }
void nothing() {}
std::string twice(const std::string& text) { return text + text; }
int fail_at_three(int n) {
  if (n == 3) throw std::range_error("three");
  return n;
}
[[noreturn]] void throw_int() { throw 42; }
void add_one(int& n) { ++n; }
int length(std::stop_token, const std::string& text) { return static_cast<int>(text.size()); }
struct point {
  int x = 0;
  int move_by(int d) { return x + d; }
};

// Endless; says how far it was read.
struct endless {
  int* read;
  int stop_at = -1;
  struct iterator {
    using value_type = int;
    using difference_type = std::ptrdiff_t;
    const endless* range = nullptr;
    int at = 0;
    int operator*() const {
      if (at == range->stop_at) throw std::out_of_range("the input");
      *range->read = at + 1;
      return at;
    }
    iterator& operator++() {
      ++at;
      return *this;
    }
    void operator++(int) { ++at; }
    friend bool operator==(const iterator&, std::default_sentinel_t) { return false; }
  };
  iterator begin() const { return {this, 0}; }
  std::default_sentinel_t end() const { return {}; }
};

TYPED_TEST(pools, give_what_a_task_returns_or_throws) {
  auto pool = TypeParam::make();
  static_assert(tandem::executor<decltype(pool)>);
  EXPECT_EQ(pool.submit(square, 7).get(), 49);
  EXPECT_EQ(pool.submit(twice, "ab").get(), "abab");
  EXPECT_EQ(pool.submit(length, std::string("four")).get(), 4);
  EXPECT_EQ(pool.submit(&point::move_by, point{3}, 4).get(), 7);
  pool.submit(nothing).get();
  EXPECT_EQ(pool.submit([](int a, int b) { return a - b; }, 5, 3).get(), 2);
  EXPECT_THROW(pool.submit(fail_at_three, 3).get(), std::range_error);
  EXPECT_EQ(pool.submit({.name = "named", .priority = 3}, square, 3).get(), 9);
  EXPECT_EQ(pool.submit({.key = 1}, square, 3).get(), 9);
  auto f = pool.try_submit(square, 5);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->get(), 25);
}

TYPED_TEST(pools, a_future_gives_its_value_once) {
  auto pool = TypeParam::make();
  auto f = pool.submit(square, 2);
  f.wait();
  EXPECT_TRUE(f.ready());
  EXPECT_TRUE(f.wait_for(0ns));
  EXPECT_TRUE(f.valid());
  EXPECT_FALSE(f.cancel());
  EXPECT_EQ(f.get(), 4);
  EXPECT_FALSE(f.valid());
  try {
    f.get();
    FAIL();
  } catch (const std::future_error& e) {
    EXPECT_EQ(e.code(), std::future_errc::future_already_retrieved);
  }
  tandem::future<int> none;
  try {
    none.get();
    FAIL();
  } catch (const std::future_error& e) {
    EXPECT_EQ(e.code(), std::future_errc::no_state);
  }
}

TYPED_TEST(pools, survive_tasks_that_fail) {
  auto pool = TypeParam::make();
  std::vector<tandem::future<int>> all;
  for (int i = 0; i < 20; ++i) all.push_back(pool.submit(fail_at_three, i % 5));
  int failed = 0;
  for (auto& f : all) {
    try {
      f.get();
    } catch (const std::range_error&) {
      ++failed;
    }
  }
  EXPECT_EQ(failed, 4);
  const auto stats = pool.stats();
  EXPECT_EQ(stats.done, 16u);
  EXPECT_EQ(stats.failed, 4u);
  EXPECT_EQ(stats.submitted, 20u);
}

TYPED_TEST(pools, drop_futures_without_waiting) {
  auto pool = TypeParam::make();
  for (int i = 0; i < 100; ++i) pool.submit(square, i);
  pool.wait();
  EXPECT_EQ(pool.stats().done, 100u);
  EXPECT_EQ(pool.stats().pending, 0u);
}

TYPED_TEST(pools, take_nothing_after_close) {
  auto pool = TypeParam::make();
  auto f = pool.submit(square, 3);
  pool.close();
  pool.close();
  EXPECT_THROW(pool.submit(square, 1), tandem::closed);
  EXPECT_THROW(static_cast<void>(pool.try_submit(square, 1)), tandem::closed);
  EXPECT_EQ(f.get(), 9);
  EXPECT_TRUE(pool.wait_for(10s));
  const auto report = pool.shutdown();
  EXPECT_TRUE(report.in_time);
}

TYPED_TEST(pools, map_in_order) {
  auto pool = TypeParam::make();
  std::vector<int> in(1000);
  std::iota(in.begin(), in.end(), 0);
  std::vector<int> out;
  for (int n : pool.map(square, in, {.window = 64})) out.push_back(n);
  ASSERT_EQ(out.size(), in.size());
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(out[static_cast<std::size_t>(i)], i * i);
  std::vector<int> none;
  for ([[maybe_unused]] int n : pool.map(square, none)) FAIL();
  out.clear();
  for (int n : pool.map(square, std::vector<int>{1, 2, 3}, {.chunk = 2})) out.push_back(n);
  EXPECT_THAT(out, testing::ElementsAre(1, 4, 9));
}

TYPED_TEST(pools, map_of_bools) {
  auto pool = TypeParam::make();
  const auto flip = [](bool b) { return !b; };
  std::vector<bool> in{true, false, false}, out;
  for (const bool b : pool.map(flip, in, {.chunk = 2})) out.push_back(b);
  for (const bool b : pool.map(flip, std::vector<bool>{true, true})) out.push_back(b);
  EXPECT_EQ(out, (std::vector<bool>{false, true, true, false, false}));
  pool.for_each([](bool) {}, in);
}

TYPED_TEST(pools, map_unordered_gives_indices) {
  auto pool = TypeParam::make();
  const std::vector<int> in{5, 6, 7, 8, 9};
  std::map<std::size_t, int> out;
  for (auto [index, n] : pool.map_unordered(square, in)) out[index] = n;
  EXPECT_EQ(out, (std::map<std::size_t, int>{{0, 25}, {1, 36}, {2, 49}, {3, 64}, {4, 81}}));
}

TYPED_TEST(pools, map_throws_at_the_position_and_ends) {
  auto pool = TypeParam::make();
  for (const std::size_t chunk : {1u, 2u, 5u}) {
    std::vector<int> out;
    auto results = pool.map(fail_at_three, std::vector<int>{0, 1, 2, 3, 4, 5, 6}, {.window = 8, .chunk = chunk});
    auto at = results.begin();
    EXPECT_THROW(for (; at != results.end(); ++at) out.push_back(*at);, std::range_error);
    EXPECT_THAT(out, testing::ElementsAre(0, 1, 2));
    EXPECT_TRUE(at == results.end());
  }
  EXPECT_EQ(pool.submit(square, 2).get(), 4);
}

TYPED_TEST(pools, map_reads_no_further_than_the_window) {
  auto pool = TypeParam::make();
  int read = 0;
  {
    auto results = pool.map(square, endless{&read}, {.window = 10});
    EXPECT_EQ(read, 0);
    auto at = results.begin();
    EXPECT_EQ(read, 10);
    for (int i = 0; i < 100; ++i, ++at) {
      EXPECT_EQ(*at, i * i);
      EXPECT_LE(read, i + 10);
    }
  }
  EXPECT_LE(read, 110);
  pool.wait();
  int usual = 0;
  auto results = pool.map(square, endless{&usual});
  results.begin();
  EXPECT_EQ(usual, static_cast<int>(4 * pool.workers()));
}

TYPED_TEST(pools, map_throws_what_the_input_throws_at_its_position) {
  auto pool = TypeParam::make();
  int read = 0;
  std::vector<int> out;
  EXPECT_THROW(for (int n : pool.map(square, endless{&read, 5}, {.window = 4})) out.push_back(n);, std::out_of_range);
  EXPECT_THAT(out, testing::ElementsAre(0, 1, 4, 9, 16));
  EXPECT_EQ(pool.submit(square, 2).get(), 4);
}

TYPED_TEST(pools, map_reports_progress) {
  auto pool = TypeParam::make();
  std::vector<std::size_t> done;
  std::optional<std::size_t> of;
  const auto progress = [&](std::size_t n, std::optional<std::size_t> total) {
    done.push_back(n);
    of = total;
  };
  for ([[maybe_unused]] int n : pool.map(square, std::vector<int>{1, 2, 3}, {.progress = progress})) {
  }
  EXPECT_THAT(done, testing::ElementsAre(1, 2, 3));
  EXPECT_EQ(of, 3u);
}

TYPED_TEST(pools, transform_reduce_in_the_caller) {
  auto pool = TypeParam::make();
  std::vector<int> in(100);
  std::iota(in.begin(), in.end(), 1);
  EXPECT_EQ(pool.transform_reduce(in, 0L, std::plus<>{}, square), 338350);
  const std::vector<std::string> words{"a", "b", "c"};
  EXPECT_EQ(pool.transform_reduce(words, std::string(), std::plus<>{}, twice), "aabbcc");
}

TYPED_TEST(pools, for_each_touches_the_elements_or_copies_of_them) {
  auto pool = TypeParam::make();
  std::vector<int> in(100, 1);
  pool.for_each(add_one, in);
  EXPECT_THAT(in, testing::Each(TypeParam::sees_memory ? 2 : 1));
  EXPECT_THROW(pool.for_each(fail_at_three, std::vector<int>{1, 2, 3, 4}), std::range_error);
}

TYPED_TEST(pools, a_task_knows_its_attempt_and_deadline) {
  auto pool = TypeParam::make();
  EXPECT_EQ(pool.submit([] { return tandem::this_worker::attempt(); }).get(), 1u);
  EXPECT_FALSE(pool.submit([] { return tandem::this_worker::deadline().has_value(); }).get());
  EXPECT_TRUE(pool.submit({.deadline = 1h}, [] { return tandem::this_worker::deadline().has_value(); }).get());
}

TYPED_TEST(pools, a_deadline_stops_a_task_and_its_future_throws) {
  auto pool = TypeParam::make();
  auto f = pool.submit({.deadline = 20ms}, [](std::stop_token stop) {
    std::mutex m;
    std::condition_variable_any changed;
    std::unique_lock lock(m);
    changed.wait(lock, stop, [] { return false; });
    return 1;
  });
  EXPECT_THROW(f.get(), tandem::timed_out);
  pool.wait();
  EXPECT_EQ(pool.stats().timed_out, 1u);
  EXPECT_TRUE(tandem::test::eventually([&] { return pool.stats().overdue == 0; }));
  EXPECT_EQ(pool.submit({.deadline = 1h}, square, 3).get(), 9);
}

TYPED_TEST(pools, what_is_no_exception_arrives_too) {
  auto pool = TypeParam::make();
  EXPECT_ANY_THROW(pool.submit(throw_int).get());
  EXPECT_EQ(pool.submit(square, 2).get(), 4);
}

}  // namespace
