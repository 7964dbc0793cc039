// Workers that do what no worker should: each costs itself, and nobody else.
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "os/kernel.hpp"
#include "support/fixture.hpp"
#include "worker/child_side.hpp"

namespace {

class hostile_workers : public tandem::test::checked {};

// All memory that it shares with others.
void scribble() {
  struct area {
    std::uintptr_t from, to;
  };
  std::array<area, 64> found;
  std::size_t count = 0;
  {
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line) && count < found.size();) {
      area a{};
      std::array<char, 5> rights{};
      if (std::sscanf(line.c_str(), "%lx-%lx %4s", &a.from, &a.to, rights.data()) == 3 && rights[1] == 'w' &&
          rights[3] == 's')
        found[count++] = a;
    }
  }
  for (std::size_t i = 0; i < count; ++i)
    std::memset(reinterpret_cast<void*>(found[i].from), 0xFF, found[i].to - found[i].from);
  ::_exit(0);
}

TEST_F(hostile_workers, a_worker_that_shuts_everything_down_harms_nobody) {
  tandem::process p([] {
    for (int fd = 0; fd < 100; ++fd) ::shutdown(fd, SHUT_RDWR);
    return 1;
  });
  EXPECT_EQ(p.get(), 1);
  for (int i = 0; i < 20; ++i) {
    tandem::process large([] { return std::string(50'000, 'x'); });
    EXPECT_EQ(large.get().size(), 50'000U);
  }
}

TEST_F(hostile_workers, one_that_sends_without_end_holds_up_nobody) {
  tandem::process flood([] {
    using namespace tandem::worker;
    rlimit limit{};  // what is on its way is counted for each user: the other half is for the other tests
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur /= 2;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    std::array<int, 250> many{};
    const door_message message{door_kind::handles};
    for (;;) tandem::os::send(this_process()->door, {bytes_of(message)}, many);
  });
  for (int i = 0; i < 10; ++i) {
    tandem::process p([] { return 1; });
    EXPECT_EQ(p.get(), 1);
  }
  flood.kill();
  flood.join();
}

TEST_F(hostile_workers, one_that_writes_over_all_that_it_shares_ends_no_later_start) {
  tandem::process p(scribble);
  p.join();
  for (const auto start : {tandem::start_method::fork_server, tandem::start_method::spawn}) {
    tandem::process next({.start = start}, [] { return 1; });
    EXPECT_EQ(next.get(), 1);
  }
}

TEST_F(hostile_workers, a_result_with_holes_takes_no_memory) {
  tandem::process p([]() -> std::vector<char> {  // what no worker of ours would do
    using namespace tandem::worker;
    const int file = static_cast<int>(tandem::os::check(tandem::os::anonymous_file("holes", 0), "memfd_create"));
    static_cast<void>(!::ftruncate(file, 64L << 30));
    const door_message message{door_kind::result};
    tandem::os::send(this_process()->door, {bytes_of(message)}, std::span(&file, 1));
    this_process()->page->state.store(static_cast<std::uint32_t>(phase::value_out));
    ::_exit(0);
  });
  EXPECT_THROW(p.get(), tandem::decode_error);
}

TEST_F(hostile_workers, a_daemon_of_a_worker_is_killed_with_it) {
  std::array<tandem::file_descriptor, 2> told;
  tandem::os::check(tandem::os::pipe_pair(told), "pipe2");
  tandem::process p(
      [](const tandem::file_descriptor& end) {
        if (::fork() == 0) {
          ::setsid();
          if (::fork() != 0) ::_exit(0);
          const pid_t own = ::getpid();
          static_cast<void>(!::write(end.get(), &own, sizeof own));
          for (;;) ::pause();  // lint: sleep until it is killed
        }
        ::wait(nullptr);
        for (;;) ::pause();  // lint: sleep until it is killed
      },
      told[1]);
  pid_t daemon = 0;
  ASSERT_EQ(::read(told[0].get(), &daemon, sizeof daemon), static_cast<long>(sizeof daemon));
  const auto children = [&p] { return tandem::os::children_of(p.id()); };
  ASSERT_TRUE(tandem::test::eventually([&] { return children() == std::vector<pid_t>{daemon}; }));
  p.kill();
  EXPECT_TRUE(tandem::test::eventually([&] { return !tandem::test::exists(daemon); }));
}

TEST_F(hostile_workers, a_child_that_comes_back_out_of_the_function_is_no_worker) {
  tandem::process p([] { return ::fork() == 0 ? 1 : 2; });
  EXPECT_EQ(p.get(), 2);
}

TEST_F(hostile_workers, a_thread_that_holds_a_stream_holds_up_nobody) {
  tandem::process p([] {
    std::thread([] {
      ::flockfile(stdin);
      for (;;) ::pause();  // lint: sleep until the process ends
    }).detach();
    while (::ftrylockfile(stdin) == 0) {
      ::funlockfile(stdin);
      std::this_thread::yield();
    }
    return 7;
  });
  EXPECT_EQ(p.get(), 7);
}

}  // namespace
