// The n-th call into the kernel fails, for n = 1, 2, 3 ... until the operation needs no further one: each time a clear
// error or success, nothing left; and a pool to which it happened goes on.
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include <tandem/process_pool.hpp>

#include "os/faults.hpp"
#include "support/fixture.hpp"

#if !defined(TANDEM_FAULTS)
#error "these tests need the fault points: configure with -DTANDEM_FAULTS=ON"
#endif

namespace {

using namespace std::chrono_literals;
using tandem::process_pool;
using tandem::os::role;
namespace faults = tandem::os::faults;

class pool_faults : public tandem::test::checked {
  tandem::test::watchdog longer_{230};  // hundreds of tries, each of them slow under a sanitizer
};

int square(int n) { return n * n; }
std::string twice(const std::string& text) { return text + text; }
int die_at_first() {
  if (tandem::this_worker::attempt() == 1) ::raise(SIGKILL);
  return 5;
}
void spin_for_ever() {
  for (volatile int i = 0;; static_cast<void>(i)) {
  }
}
void until_stopped(std::stop_token stop) {
  while (!stop.stop_requested()) ::usleep(100);  // lint: sleep it is the stop that is waited for
}

const char* role_name(role r) { return r == role::host ? "host" : r == role::server ? "server" : "worker"; }

/// What fails may say so, and does so by an error of the library.
void expect_tandem_errors(const std::function<void()>& operation, int error) {
  try {
    operation();
  } catch (const tandem::resource_exhausted& e) {
    EXPECT_EQ(e.code().value(), error) << e.what();
    EXPECT_FALSE(e.operation().empty());
  } catch (const tandem::error& e) {
    EXPECT_GT(std::strlen(e.what()), 20U);
  }
}

/// `operation` is the whole life of a pool.
void each_call_fails(role who, int error, const std::function<void()>& operation) {
  for (int nth = 1;; ++nth) {
    SCOPED_TRACE(std::string(role_name(who)) + ", call " + std::to_string(nth) + ", " + ::strerror(error));
    const auto before = tandem::test::take_stock();
    faults::arm(who, nth, error);
    expect_tandem_errors(operation, error);
    const bool reached = faults::disarm();
    for (const std::string& leak : tandem::test::leaks_since(before)) ADD_FAILURE() << "left behind: " << leak;
    if (!reached) {
      std::printf("%s, %s: %d calls made to fail\n", role_name(who), ::strerror(error), nth - 1);
      return;
    }
    if (testing::Test::HasFailure()) return;
    ASSERT_LT(nth, 1000);
  }
}

/// `operation` is done with a pool that was there before, and goes on afterwards.
void each_call_fails_in_a_pool(role who, int error, const std::function<void(process_pool&)>& operation) {
  process_pool pool({.workers = 2, .stop_grace = 1ms, .kill_grace = 1ms});
  EXPECT_EQ(pool.submit(square, 2).get(), 4);
  for (int nth = 1;; ++nth) {
    SCOPED_TRACE(std::string(role_name(who)) + ", call " + std::to_string(nth) + ", " + ::strerror(error));
    faults::arm(who, nth, error);
    expect_tandem_errors([&] { operation(pool); }, error);
    const bool reached = faults::disarm();
    EXPECT_EQ(pool.submit({.retries = 10}, square, 3).get(), 9);
    if (!reached) {
      std::printf("%s, %s: %d calls made to fail\n", role_name(who), ::strerror(error), nth - 1);
      return;
    }
    if (testing::Test::HasFailure()) return;
    ASSERT_LT(nth, 1000);
  }
}

void small(process_pool& pool) { EXPECT_EQ(pool.submit(square, 7).get(), 49); }

void large(process_pool& pool) {
  // As many in flight as need memory of their own.
  std::vector<tandem::future<std::string>> all;
  for (int i = 0; i < 3; ++i) all.push_back(pool.submit(twice, std::string(100'000, 'x')));
  for (auto& each : all) EXPECT_EQ(each.get().size(), 200'000U);
}

void larger(process_pool& pool) {
  static std::size_t bytes = 1'000'000;
  bytes = bytes % 4'000'000 + 1'000'000;  // mostly one that no memory was made for
  EXPECT_EQ(pool.submit(twice, std::string(bytes, 'x')).get().size(), 2 * bytes);
}

void handing_over(process_pool& pool) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) return;
  const tandem::file_descriptor out(ends[1]), in(ends[0]);
  auto f = pool.submit([](std::vector<tandem::file_descriptor> all) { return all; },
                       std::vector<tandem::file_descriptor>(300, in));
  EXPECT_EQ(f.get().size(), 300U);
}

void replacing(process_pool& pool) { EXPECT_EQ(pool.submit({.retries = 10}, die_at_first).get(), 5); }

void crashing(process_pool& pool) {
  auto f = pool.submit([] { ::_exit(4); });
  f.wait();
  try {
    f.get();
    ADD_FAILURE() << "it did not die";
  } catch (const tandem::worker_exited& e) {
    EXPECT_EQ(e.report().status.code(), 4);
  }
}

void late(process_pool& pool) {
  try {
    pool.submit({.deadline = 1ms}, spin_for_ever).get();
    ADD_FAILURE() << "it ended";
  } catch (const tandem::timed_out&) {
  }
}

void stopping(process_pool& pool) {
  auto f = pool.submit(until_stopped);
  f.cancel();
  try {
    f.get();
  } catch (const tandem::cancelled&) {
  }
}

void telling(process_pool& pool) {
  auto next = pool.submit(square, 3).then([](int n) { return n + 1; });
  EXPECT_EQ(next.get(), 10);
  std::vector<tandem::future<int>> all;
  for (int i = 0; i < 3; ++i) all.push_back(pool.submit(square, i));
  tandem::wait_any(all);
}

void mapping(process_pool& pool) {
  int next = 0;
  for (const int n : pool.map(square, std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}, {.chunk = 1})) {
    EXPECT_EQ(n, next * next);
    ++next;
  }
  EXPECT_EQ(next, 8);
}

TEST_F(pool_faults, of_a_whole_life) {
  for (const role who : {role::host, role::server, role::worker}) {
    for (const int error : {EMFILE, ENOMEM}) {
      each_call_fails(who, error, [] {
        process_pool pool({.workers = 2, .spares = 0});
        small(pool);
      });
    }
  }
}

TEST_F(pool_faults, of_replacing_all_the_time) {
  for (const role who : {role::host, role::server, role::worker}) {
    each_call_fails(who, EMFILE, [] {
      process_pool pool({.workers = 2, .max_tasks_per_worker = 1});
      std::vector<tandem::future<int>> all;
      for (int i = 0; i < 4; ++i) all.push_back(pool.submit(square, i));
      for (int i = 0; i < 4; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i * i);
    });
  }
}

TEST_F(pool_faults, of_the_host_in_a_pool) {
  for (const int error : {EMFILE, ENOMEM}) {
    for (const auto operation :
         {small, large, larger, handing_over, replacing, crashing, late, stopping, telling, mapping}) {
      each_call_fails_in_a_pool(role::host, error, operation);
    }
  }
}

TEST_F(pool_faults, of_the_worker_in_a_pool) {
  for (const int error : {EMFILE, ENOMEM}) {
    for (const auto operation : {small, large, larger, handing_over, replacing, crashing, late, stopping, mapping}) {
      each_call_fails_in_a_pool(role::worker, error, operation);
    }
  }
}

TEST_F(pool_faults, of_the_server_in_a_pool) {
  for (const int error : {EMFILE, ENOMEM}) {
    for (const auto operation : {replacing, crashing, late}) {
      each_call_fails_in_a_pool(role::server, error, operation);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  faults::share();
  tandem::init();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
