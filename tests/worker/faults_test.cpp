// The n-th call into the kernel fails, for n = 1, 2, 3 ... until the operation needs no further one: each time a clear
// error or success, nothing left, and the next start works.
#include <sys/wait.h>
#include <unistd.h>

#include <sched.h>
#include <signal.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "os/faults.hpp"
#include "os/kernel.hpp"
#include "support/fixture.hpp"

#if !defined(TANDEM_FAULTS)
#error "these tests need the fault points: configure with -DTANDEM_FAULTS=ON"
#endif

namespace {

using tandem::os::role;
namespace faults = tandem::os::faults;

class fault_loops : public tandem::test::checked {
  tandem::test::watchdog longer_{230};  // hundreds of tries, each of them slow under a sanitizer
};

const char* role_name(role r) {
  return r == role::host ? "host" : r == role::server ? "server" : r == role::keeper ? "keeper" : "worker";
}

// Runs `operation` until no further call of that role can be made to fail. It may succeed, or fail with an error of the
// library; anything else, and any hang, is a defect.
template <class Operation>
void each_call_fails(role who, int error, Operation operation) {
  int failed = 0;
  for (int nth = 1;; ++nth) {
    SCOPED_TRACE(std::string(role_name(who)) + ", call " + std::to_string(nth) + ", " + ::strerror(error));
    const auto before = tandem::test::take_stock();
    faults::arm(who, nth, error);
    try {
      operation();
    } catch (const tandem::resource_exhausted& e) {
      EXPECT_EQ(e.code().value(), error) << e.what();
      EXPECT_FALSE(e.operation().empty());
      ++failed;
    } catch (const tandem::error& e) {
      EXPECT_GT(std::strlen(e.what()), 20U);
      ++failed;
    }
    const bool reached = faults::disarm();
    EXPECT_EQ(tandem::process([](int n) { return n + 1; }, 1).get(), 2);
    for (const std::string& leak : tandem::test::leaks_since(before)) ADD_FAILURE() << "left behind: " << leak;
    if (!reached) {
      std::printf("%s, %s: %d calls made to fail, %d of them said so by an error\n", role_name(who), ::strerror(error),
                  nth - 1, failed);
      return;
    }
    ASSERT_LT(nth, 1000);
  }
}

void small() {
  tandem::process p([](int n) { return n * n; }, 7);
  EXPECT_EQ(p.get(), 49);
}

void large() {
  const std::string text(200'000, 'x');
  tandem::process p([](std::string s) { return s + "y"; }, text);
  EXPECT_EQ(p.get().size(), 200'001U);
}

void stopping() {
  tandem::process p([](std::stop_token stop) {
    while (!stop.stop_requested()) ::sched_yield();
  });
  p.request_stop();
  p.get();
}

void crashing() {
  tandem::process p([] { ::_exit(4); });
  p.join();
  try {
    p.get();
    ADD_FAILURE() << "it did not die";
  } catch (const tandem::worker_died&) {
    EXPECT_FALSE(p.status()->ok());
  }
}

void nesting() {
  tandem::process p([] { return tandem::process([] { return 3; }).get(); });
  EXPECT_EQ(p.get(), 3);
}

void threading() {
  tandem::thread t([](int n) { return n; }, 5);
  EXPECT_EQ(t.get(), 5);
}

void fresh() {
  tandem::process p(
      {.start = tandem::start_method::spawn, .cwd = "/", .environment = {{"TANDEM_TEST", "1"}}},
      [](int n) { return n * n; }, 7);
  EXPECT_EQ(p.get(), 49);
}

void copied() {
  tandem::process p(
      tandem::fork_options{}, [](int n) { return std::string(5000, 'x') + std::to_string(n); }, 7);
  EXPECT_EQ(p.get().size(), 5001U);
}

void handing_over() {
  const tandem::file_descriptor null(tandem::os::open_null());
  if (!null) return;  // this call was the one to fail
  tandem::process p([](std::vector<tandem::file_descriptor> all) { return all; },
                    std::vector<tandem::file_descriptor>(300, null));
  EXPECT_EQ(p.get().size(), 300U);
}

void capturing() {
  tandem::process p({.capture_stderr = true}, [] { ::_exit(4); });
  p.join();
  EXPECT_FALSE(p.status()->ok());
}

void stopping_by_source() {
  tandem::stop_source source;
  tandem::process p(
      [](const tandem::stop_source& s) {
        while (!s.stop_requested()) ::sched_yield();
      },
      source);
  source.request_stop();
  p.get();
}

TEST_F(fault_loops, a_thread) { each_call_fails(role::host, EAGAIN, threading); }

TEST_F(fault_loops, of_the_host) {
  for (const int error : {EMFILE, ENOMEM, EAGAIN}) {
    for (const auto operation :
         {small, large, stopping, crashing, nesting, fresh, copied, handing_over, capturing, stopping_by_source})
      each_call_fails(role::host, error, operation);
  }
}

TEST_F(fault_loops, of_the_server) {
  for (const int error : {EMFILE, ENOMEM, EAGAIN}) {
    for (const auto operation : {small, large, stopping, crashing, nesting, fresh, copied, handing_over, capturing})
      each_call_fails(role::server, error, operation);
  }
}

TEST_F(fault_loops, of_the_worker) {
  for (const int error : {EMFILE, ENOMEM}) {
    for (const auto operation :
         {small, large, stopping, crashing, nesting, fresh, copied, handing_over, stopping_by_source})
      each_call_fails(role::worker, error, operation);
  }
}

TEST_F(fault_loops, of_a_server_that_is_made_again) {
  for (const role who : {role::host, role::keeper, role::server}) {
    each_call_fails(who, EMFILE, [] {
      const auto server = tandem::os::children_of(tandem::os::children_of(::getpid()).at(0)).at(0);
      ::kill(server, SIGKILL);
      small();
    });
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (std::getenv("TANDEM_FRESH_IMAGE") != nullptr) tandem::init();  // a fresh image has its function to run
  faults::share();
  // init() itself, in a copy for each call: what it makes lasts as long as the program.
  for (const role who : {role::host, role::keeper, role::server}) {
    for (int nth = 1; nth < 200; ++nth) {
      const pid_t copy = ::fork();
      if (copy == 0) {
        faults::arm(who, nth, ENOMEM);
        int code = 0;
        try {
          tandem::init();
        } catch (const tandem::error& e) {
          code = std::strlen(e.what()) > 5 ? 1 : 3;
        } catch (...) {
          code = 3;
        }
        if (!faults::disarm()) ::_exit(2);
        if (code == 0 && tandem::process([] { return 6; }).get() != 6) code = 3;
        ::_exit(code);
      }
      int status = 0;
      ::waitpid(copy, &status, 0);
      if (!WIFEXITED(status) || WEXITSTATUS(status) > 2) {
        std::fprintf(stderr, "init() with call %d of the %s failing ended with status %x\n", nth, role_name(who),
                     status);
        return 1;
      }
      if (WEXITSTATUS(status) == 2) break;
    }
  }
  tandem::init();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
