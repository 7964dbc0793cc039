// The session page of a program without workers: made at the first lock, also when the kernel refuses at first; and what a
// child made by fork() of such a program is.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include <tandem/error.hpp>
#include <tandem/mutex.hpp>

#include "os/faults.hpp"
#include "sync/session.hpp"

#if !defined(TANDEM_FAULTS)
#error "these tests need the fault points: configure with -DTANDEM_FAULTS=ON"
#endif

namespace {

namespace faults = tandem::os::faults;

int code_of_child(int (*run)(int), int argument) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(run(argument));
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

enum ends { as_ever, refused_and_then_good, not_reached, wrong };

int lock_while_a_call_fails(int nth) {
  tandem::mutex m;
  faults::arm(tandem::os::role::host, nth, ENOMEM);
  try {
    m.lock();
    return faults::disarm() ? as_ever : not_reached;
  } catch (const tandem::resource_exhausted& e) {
    faults::disarm();
    if (e.code().value() != ENOMEM) return wrong;
    m.lock();
    m.unlock();
    return refused_and_then_good;
  }
}

TEST(session, a_first_lock_that_the_kernel_refuses_can_be_tried_again) {
  int refused = 0;
  for (int nth = 1;; ++nth) {
    const int end = code_of_child(lock_while_a_call_fails, nth);
    if (end == not_reached) break;
    EXPECT_EQ(end, refused_and_then_good) << "call " << nth;
    ++refused;
    ASSERT_LT(nth, 100);
  }
  EXPECT_GE(refused, 6);
}

tandem::mutex of_both;

TEST(session, a_child_of_fork_of_a_program_without_workers_is_a_program_of_its_own) {
  of_both.lock();
  of_both.unlock();
  const std::uint64_t id = tandem::sync::session_id();
  std::thread holder([] { of_both.lock(); });  // and ends with it
  holder.join();
  static std::uint64_t of_parent;
  of_parent = id;
  EXPECT_EQ(code_of_child(
                [](int) {
                  try {
                    of_both.lock();
                    return 1;
                  } catch (const tandem::owner_died&) {
                  }
                  of_both.lock_and_repair([] {});
                  of_both.lock();
                  of_both.unlock();
                  return tandem::sync::session_id() != of_parent ? 0 : 2;
                },
                0),
            0);
  of_both.lock_and_repair([] {});
}

}  // namespace
