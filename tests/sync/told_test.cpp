// Those who tell of deaths are killed before they have told.
#include <signal.h>
#include <unistd.h>

#include <thread>

#include <tandem/sync.hpp>

#include "os/faults.hpp"
#include "os/kernel.hpp"
#include "support/fixture.hpp"
#include "sync/death_point.hpp"
#include "sync/mapped.hpp"

#if !defined(TANDEM_FAULTS)
#error "these tests need the named points: configure with -DTANDEM_FAULTS=ON"
#endif

namespace {

using tandem::file_descriptor;
using tandem::test::eventually;
using tandem::test::mapped;

class told : public tandem::test::checked {};

struct stage {
  tandem::mutex mutex = {};
  std::atomic<bool> held{false};
};

TEST_F(told, a_death_that_the_fork_server_has_marked_and_not_told) {
  const mapped<stage> shared(std::in_place);
  tandem::process owner(
      [](const file_descriptor& file) {
        const mapped<stage> s(file);
        s->mutex.lock();
        s->held = true;
        for (;;) ::pause();
      },
      shared.file());
  ASSERT_TRUE(eventually([&] { return shared->held.load(); }));
  std::atomic<pid_t> id{0};
  std::thread waiter([&] {
    id = ::gettid();
    EXPECT_THROW(shared->mutex.lock(), tandem::owner_died);
  });
  ASSERT_TRUE(eventually([&] { return id != 0 && tandem::test::sleeps_at_futex(id); }));
  owner.kill();  // the fork server marks it and dies, the keeper tells
  waiter.join();
  owner.join();
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  tandem::init({.preload = [] {
    tandem::sync::arm_death_point("death.marked", 1, [] {
      if (tandem::os::current_role() == tandem::os::role::server) ::kill(::getpid(), SIGKILL);
    });
  }});
  return RUN_ALL_TESTS();
}
