// What a thread and a process have in common: one suite, run for both.
#include <pthread.h>
#include <signal.h>
#include <atomic>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <numeric>
#include <sstream>
#include <thread>

#include "os/kernel.hpp"
#include "support/fixture.hpp"

namespace {

using namespace std::chrono_literals;
using tandem::test::in_process;
using tandem::test::in_thread;

template <class Unit>
class units : public tandem::test::checked {};
TYPED_TEST_SUITE(units, tandem::test::both, tandem::test::unit_names);

int square(int number) { return number * number; }
void nothing() {}
std::string join_words(const std::vector<std::string>& words, const std::string& between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}
int until_stopped(std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait(lock, stop, [] { return false; });
  return 7;
}
int until_own_token_stopped() { return until_stopped(tandem::this_worker::stop_token()); }
[[noreturn]] void throw_range_error() { throw std::range_error("out of the range"); }

struct point {
  int x = 0;
  double y = 0;
  std::vector<std::string> names;
  bool operator==(const point&) const = default;
};
point moved_by(point p, int by) {
  p.x += by;
  p.names.push_back("moved");
  return p;
}

struct counter {
  int start = 0;
  int add(int n) const { return start + n; }
  int operator()(int n) const { return start * n; }
};

TYPED_TEST(units, gives_the_value) {
  auto u = TypeParam::start(square, 9);
  EXPECT_EQ(u.get(), 81);
}

TYPED_TEST(units, deduces_its_result) {
  static_assert(std::is_same_v<decltype(TypeParam::start(square, 1)), typename TypeParam::template unit<int>>);
  static_assert(std::is_same_v<decltype(TypeParam::start(nothing)), typename TypeParam::template unit<void>>);
  static_assert(std::is_same_v<decltype(TypeParam::start(until_stopped)), typename TypeParam::template unit<int>>);
  static_assert(!std::is_copy_constructible_v<typename TypeParam::template unit<int>>);
  static_assert(std::is_nothrow_move_constructible_v<typename TypeParam::template unit<int>>);
  auto u = TypeParam::start(nothing);
  u.get();
  EXPECT_EQ(u.status(), tandem::exit_status{});
}

TYPED_TEST(units, takes_what_can_be_called) {
  EXPECT_EQ(TypeParam::start([](int a, long b) { return a - b; }, 5, 3L).get(), 2);
  EXPECT_EQ(TypeParam::start(std::plus<>{}, 2, 3).get(), 5);
  EXPECT_EQ(TypeParam::start(&counter::add, counter{10}, 5).get(), 15);
  EXPECT_EQ(TypeParam::start(counter{6}, 7).get(), 42);
  EXPECT_EQ(TypeParam::start(&square, 3).get(), 9);
}

TYPED_TEST(units, carries_values_both_ways) {
  EXPECT_EQ(TypeParam::start(join_words, std::vector<std::string>{"a", "b"}, "-").get(), "a-b");
  EXPECT_EQ(TypeParam::start(moved_by, point{1, 2.5, {"p"}}, 3).get(), (point{4, 2.5, {"p", "moved"}}));
  const std::map<std::string, std::optional<int>> map{{"one", 1}, {"none", std::nullopt}};
  EXPECT_EQ(TypeParam::start([](std::map<std::string, std::optional<int>> m) { return m; }, map).get(), map);
  auto p =
      TypeParam::start([](std::unique_ptr<int> n) { return std::make_unique<int>(*n + 1); }, std::make_unique<int>(4));
  EXPECT_EQ(*p.get(), 5);
}

TYPED_TEST(units, a_c_string_arrives_as_one) {
  EXPECT_EQ(TypeParam::start([](const char* s) { return std::string(s) + "!"; }, "hello").get(), "hello!");
  EXPECT_EQ(TypeParam::start([](std::string s) { return s.size(); }, "hello").get(), 5U);
  char buffer[] = "abc";
  EXPECT_EQ(TypeParam::start([](std::string_view s) { return s.size(); }, buffer).get(), 3U);
}

TYPED_TEST(units, carries_large_values) {
  const auto doubled = [](std::vector<int> v) {
    for (int& n : v) n *= 2;
    return v;
  };
  for (const std::size_t size : {0U, 10U, 1000U, 16'000U, 17'000U, 1'000'000U}) {
    std::vector<int> values(size);
    std::iota(values.begin(), values.end(), 0);
    std::vector<int> expected = doubled(values);
    EXPECT_EQ(TypeParam::start(doubled, values).get(), expected) << size;
  }
}

TYPED_TEST(units, a_large_result_waits_for_nobody) {
  // Joined long before the result is asked for: nobody reads while the worker hands it over.
  auto u = TypeParam::start([] { return std::string(70'000, 'x'); });
  u.join();
  EXPECT_EQ(u.get().size(), 70'000U);
}

TYPED_TEST(units, an_unasked_large_result_leaves_nothing) {
  for (int i = 0; i < 5; ++i) TypeParam::start([] { return std::vector<char>(1'000'000); }).join();
}

TYPED_TEST(units, throws_what_the_function_threw) {
  auto u = TypeParam::start(throw_range_error);
  u.join();
  ASSERT_TRUE(u.status());
  EXPECT_EQ(u.status()->kind(), tandem::ending::threw);
  EXPECT_FALSE(u.status()->ok());
  try {
    u.get();
    FAIL() << "nothing thrown";
  } catch (const std::range_error& e) {
    EXPECT_STREQ(e.what(), "out of the range");
  }
}

TYPED_TEST(units, an_exception_may_be_long) {
  auto u = TypeParam::start([] { throw std::runtime_error(std::string(100'000, 'e')); });
  try {
    u.get();
    FAIL() << "nothing thrown";
  } catch (const std::runtime_error& e) {
    EXPECT_EQ(std::string(e.what()).size(), 100'000U);
  }
}

TYPED_TEST(units, get_works_once) {
  auto u = TypeParam::start(square, 2);
  EXPECT_EQ(u.get(), 4);
  EXPECT_THROW(u.get(), std::future_error);
  EXPECT_NO_THROW(u.join());
}

TYPED_TEST(units, an_empty_one_says_so) {
  typename TypeParam::template unit<int> empty;
  EXPECT_FALSE(empty.joinable());
  EXPECT_FALSE(empty.running());
  EXPECT_FALSE(empty.status());
  EXPECT_FALSE(empty.request_stop());
  EXPECT_EQ(empty.name(), "");
  EXPECT_EQ(empty.id(), 0);
  EXPECT_THROW(empty.get(), std::future_error);
  EXPECT_THROW(empty.join(), std::system_error);
  EXPECT_THROW(empty.join_for(1s), std::system_error);
  EXPECT_FALSE(empty.get_stop_source().request_stop());
}

TYPED_TEST(units, moves) {
  auto u = TypeParam::start(square, 5);
  auto v = std::move(u);
  EXPECT_FALSE(u.joinable());  // NOLINT(bugprone-use-after-move): that is what is tested
  EXPECT_TRUE(v.joinable());
  typename TypeParam::template unit<int> w;
  w = std::move(v);
  EXPECT_EQ(w.get(), 25);
  w = TypeParam::start(square, 6);
  EXPECT_EQ(w.get(), 36);
}

TYPED_TEST(units, assignment_ends_the_old_one) {
  auto u = TypeParam::start(until_stopped);
  u = TypeParam::start(until_stopped);  // asked to stop, and joined
  EXPECT_TRUE(u.running());
}

TYPED_TEST(units, joins_any_number_of_times) {
  auto u = TypeParam::start(throw_range_error);
  u.join();
  u.join();
  EXPECT_TRUE(u.join_for(0s));
  EXPECT_TRUE(u.join_for(-1s));
  EXPECT_TRUE(u.join_until(tandem::clock::now()));
  EXPECT_FALSE(u.joinable());
}

TYPED_TEST(units, joins_from_many_threads) {
  auto u = TypeParam::start(until_stopped);
  std::vector<std::jthread> joiners;
  std::atomic<int> joined{0};
  for (int i = 0; i < 4; ++i) {
    joiners.emplace_back([&] {
      u.join();
      ++joined;
    });
  }
  u.request_stop();
  joiners.clear();
  EXPECT_EQ(joined, 4);
  EXPECT_EQ(u.get(), 7);
}

TYPED_TEST(units, timed_joins_say_whether_it_ended) {
  auto u = TypeParam::start(until_stopped);
  EXPECT_FALSE(u.join_for(0s));
  EXPECT_FALSE(u.join_for(-5s));
  EXPECT_FALSE(u.join_until(tandem::clock::now() - 1h));
  const auto before = tandem::clock::now();
  EXPECT_FALSE(u.join_for(20ms));
  EXPECT_GE(tandem::clock::now() - before, 20ms);
  EXPECT_TRUE(u.running());
  EXPECT_TRUE(u.joinable());
  u.request_stop();
  EXPECT_TRUE(u.join_for(tandem::nanoseconds::max()));
  EXPECT_FALSE(u.running());
}

TYPED_TEST(units, status_is_empty_while_it_runs) {
  auto u = TypeParam::start(until_stopped);
  EXPECT_FALSE(u.status());
  EXPECT_TRUE(u.running());
  u.request_stop();
  u.join();
  EXPECT_EQ(u.status(), tandem::exit_status{});
  EXPECT_TRUE(u.status()->ok());
}

TYPED_TEST(units, a_stop_reaches_the_token) {
  auto u = TypeParam::start(until_stopped);
  EXPECT_TRUE(u.request_stop());
  EXPECT_FALSE(u.request_stop());
  EXPECT_EQ(u.get(), 7);  // a value returned despite a stop stands
}

TYPED_TEST(units, a_stop_reaches_this_workers_token) {
  auto u = TypeParam::start(until_own_token_stopped);
  u.request_stop();
  EXPECT_EQ(u.get(), 7);
}

TYPED_TEST(units, a_stop_source_asks_it_too) {
  auto u = TypeParam::start(until_stopped);
  tandem::stop_source source = u.get_stop_source();
  EXPECT_FALSE(source.stop_requested());
  std::jthread other([source]() mutable { source.request_stop(); });
  EXPECT_EQ(u.get(), 7);
  EXPECT_TRUE(source.get_token().stop_requested());
  u = {};
  EXPECT_FALSE(source.request_stop());  // also when nobody is left to be asked
}

TYPED_TEST(units, a_stop_that_nobody_heeds_changes_nothing) {
  auto u = TypeParam::start(square, 3);
  u.request_stop();
  EXPECT_EQ(u.get(), 9);
}

TYPED_TEST(units, the_destructor_asks_for_a_stop) {
  auto u = TypeParam::start(until_stopped);
  EXPECT_TRUE(u.running());
}

TYPED_TEST(units, has_a_name) {
  typename TypeParam::options options;
  options.name = "parser of pages";
  auto u = TypeParam::start(options, [] { return tandem::this_worker::name(); });
  EXPECT_EQ(u.name(), "parser of pages");
  EXPECT_EQ(u.get(), "parser of pages");
  auto v = TypeParam::start([] { return tandem::this_worker::name(); });
  EXPECT_FALSE(v.name().empty());
  EXPECT_EQ(v.get(), v.name());
}

TYPED_TEST(units, ps_shows_fifteen_bytes_of_the_name) {
  typename TypeParam::options options;
  options.name = "0123456789abcdefgh";
  auto u = TypeParam::start(options, [] {
    std::ifstream comm("/proc/thread-self/comm");
    std::string line;
    std::getline(comm, line);
    return line;
  });
  EXPECT_EQ(u.get(), "0123456789abcde");
}

TYPED_TEST(units, refuses_a_name_with_a_zero_byte) {
  typename TypeParam::options options;
  options.name = std::string("a\0b", 3);
  EXPECT_THROW(TypeParam::start(options, nothing), std::invalid_argument);
}

TYPED_TEST(units, its_id_is_the_kernels) {
  auto u = TypeParam::start([] { return tandem::this_worker::id(); });
  const pid_t id = u.id();
  EXPECT_GT(id, 0);
  EXPECT_NE(id, tandem::os::own_pid());
  EXPECT_EQ(u.get(), id);
  EXPECT_EQ(u.id(), id);
}

TYPED_TEST(units, knows_what_it_is) {
  EXPECT_EQ(TypeParam::start([] { return tandem::this_worker::is_process(); }).get(), TypeParam::is_process);
  EXPECT_EQ(TypeParam::start([] { return tandem::this_worker::is_thread(); }).get(), !TypeParam::is_process);
  EXPECT_TRUE(TypeParam::start([] { return tandem::this_worker::parent_alive(); }).get());
  EXPECT_EQ(TypeParam::start([] { return tandem::this_worker::attempt(); }).get(), 1U);
  EXPECT_FALSE(TypeParam::start([] { return tandem::this_worker::deadline().has_value(); }).get());
  EXPECT_FALSE(tandem::this_worker::is_process());
  EXPECT_FALSE(tandem::this_worker::is_thread());
  EXPECT_EQ(tandem::this_worker::name(), "");
  EXPECT_FALSE(tandem::this_worker::stop_token().stop_possible());
}

TYPED_TEST(units, a_thread_of_the_users_own_asks_about_its_process) {
  auto u = TypeParam::start([] {
    std::string seen;
    std::thread([&seen] {
      seen = tandem::this_worker::name() + (tandem::this_worker::is_process() ? " process" : " none");
    }).join();
    return seen;
  });
  EXPECT_EQ(u.get(), TypeParam::is_process ? u.name() + " process" : " none");
}

TYPED_TEST(units, is_listed_while_it_runs) {
  const std::size_t before = tandem::active_workers().size();
  typename TypeParam::options options;
  options.name = "listed";
  const auto start = tandem::clock::now();
  auto u = TypeParam::start(options, until_stopped);
  const auto active = tandem::active_workers();
  ASSERT_EQ(active.size(), before + 1);
  EXPECT_EQ(active[0].name, "listed");
  EXPECT_EQ(active[0].pid, u.id());
  EXPECT_EQ(active[0].is_process, TypeParam::is_process);
  EXPECT_GE(active[0].since, start);
  if (TypeParam::is_process) {
    EXPECT_GT(active[0].memory_bytes, 4096U);
  }
  u.request_stop();
  u.join();
  EXPECT_EQ(tandem::active_workers().size(), before);
}

int sum_of_squares(int n) {
  if (n == 0) return 0;
  tandem::thread t(square, n);
  tandem::process p(sum_of_squares, n - 1);
  return t.get() + p.get();
}

TYPED_TEST(units, nests) { EXPECT_EQ(TypeParam::start(sum_of_squares, 4).get(), 30); }

TYPED_TEST(units, starts_from_a_thread_that_then_ends) {
  std::vector<decltype(TypeParam::start(square, 1))> all(300);
  for (int i = 0; i < 300; ++i) {
    std::thread([&all, i] { all[static_cast<std::size_t>(i)] = TypeParam::start(square, i); }).join();
  }
  for (int i = 0; i < 300; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i * i);
}

TYPED_TEST(units, starts_from_many_threads_at_once) {
  std::vector<std::jthread> starters;
  std::atomic<int> sum{0};
  for (int i = 0; i < 4; ++i) {
    starters.emplace_back([&] {
      for (int n = 0; n < 50; ++n) sum += TypeParam::start(square, n).get();
    });
  }
  starters.clear();
  EXPECT_EQ(sum, 4 * 40'425);
}

TYPED_TEST(units, an_argument_that_cannot_be_copied_says_why_and_leaves_nothing) {
  struct thrower {
    thrower() = default;
    thrower(const thrower&) { throw std::logic_error("no copy"); }
    int operator()() const { return 0; }
  };
  const thrower t;
  EXPECT_THROW(TypeParam::start(t), std::logic_error);
}

TYPED_TEST(units, survives_signals_in_the_waiter) {
  auto u = TypeParam::start(until_stopped);
  struct sigaction quiet {};
  struct sigaction old {};
  quiet.sa_handler = [](int) {};  // without SA_RESTART: system calls see EINTR
  ::sigaction(SIGUSR1, &quiet, &old);
  std::promise<pthread_t> waiter;
  std::jthread joiner([&] {
    waiter.set_value(::pthread_self());
    EXPECT_EQ(u.get(), 7);
  });
  const pthread_t target = waiter.get_future().get();
  for (int i = 0; i < 100; ++i) ::pthread_kill(target, SIGUSR1);
  u.request_stop();
  joiner.join();
  ::sigaction(SIGUSR1, &old, nullptr);
}

TYPED_TEST(units, prints_its_status) {
  auto u = TypeParam::start(nothing);
  u.join();
  std::ostringstream out;
  out << u.status().value();
  EXPECT_EQ(out.str(), "returned");
}

// Counts those that live in this process.
struct counted {
  static inline std::atomic<int> alive{0};
  counted() { ++alive; }
  counted(const counted&) { ++alive; }
  ~counted() { --alive; }
};

}  // namespace

template <>
struct tandem::transfer<counted> {
  static void write(writer&, const counted&) {}
  static counted read(reader&) { return {}; }
};

namespace {

TYPED_TEST(units, keeps_no_copy_of_its_arguments) {
  auto u = TypeParam::start([](counted, counted) { return counted::alive.load(); }, counted(), counted());
  u.join();
  EXPECT_EQ(counted::alive, 0);
  EXPECT_GE(u.get(), 2);
}

// ---- what only one of them can ------------------------------------------------------------------------------------

class threads : public tandem::test::checked {};

TEST_F(threads, take_any_callable) {
  int n = 1;
  tandem::thread t([&n] { n = 2; });
  t.join();
  EXPECT_EQ(n, 2);
  tandem::thread<int&> r([&n]() -> int& { return n; });
  EXPECT_EQ(&r.get(), &n);
}

TEST_F(threads, destroy_function_and_arguments_when_the_function_has_ended) {
  auto alive = std::make_shared<int>(1);
  std::weak_ptr<int> seen = alive;
  tandem::thread t([](std::shared_ptr<int> p) { return *p; }, std::move(alive));
  t.join();
  EXPECT_TRUE(seen.expired());
  EXPECT_EQ(t.get(), 1);
}

TEST_F(threads, cannot_join_themselves) {
  std::promise<tandem::thread<void>*> self;
  auto future = self.get_future();
  tandem::thread<void> t([&] {
    tandem::thread<void>* me = future.get();
    EXPECT_THROW(me->join(), std::system_error);
  });
  self.set_value(&t);
  t.join();
}

TEST_F(threads, that_exit_have_no_value) {
  tandem::thread<int> t([]() -> int { ::pthread_exit(nullptr); });
  t.join();
  EXPECT_EQ(t.status()->kind(), tandem::ending::exited);
  EXPECT_THROW(t.get(), tandem::worker_exited);
}

TEST_F(threads, have_a_native_handle) {
  tandem::thread t(until_stopped);
  EXPECT_EQ(::pthread_kill(t.native_handle(), 0), 0);
  t.request_stop();
  t.join();
}

}  // namespace
