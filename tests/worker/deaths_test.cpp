// How a process can end other than by returning, and that this costs nobody else anything.
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "os/kernel.hpp"
#include "support/fixture.hpp"

namespace {

using namespace std::chrono_literals;
using tandem::cause;
using tandem::ending;

class deaths : public tandem::test::checked {
 protected:
  void TearDown() override {
    // Whatever happened, the next process works.
    EXPECT_EQ(tandem::process([](int n) { return n + 1; }, 1).get(), 2);
    checked::TearDown();
  }
};

[[noreturn]] void wait_for_ever() {
  for (;;) ::pause();
}

// Leaves in one of the ways; which one is an argument, so that one function has them all.
enum class way {
  exit,
  underscore_exit,
  quick_exit,
  abort,
  segv,
  kill,
  terminate,
  thread_throws,
  noexcept_throws,
  pthread_exit
};

void throw_domain_error() { throw std::domain_error("through noexcept"); }
void through_noexcept() noexcept { throw_domain_error(); }

// Not a null pointer by name, which the compiler would see, and UndefinedBehaviorSanitizer report instead of the kernel.
void touch_unmapped_memory() {
  volatile std::uintptr_t nowhere = 16;
  *reinterpret_cast<volatile int*>(nowhere) = 1;
}

int leave(way how) {
  switch (how) {
    case way::exit: std::exit(3);
    case way::underscore_exit: ::_exit(3);
    case way::quick_exit: std::quick_exit(3);
    case way::abort: std::abort();
    case way::segv: touch_unmapped_memory(); break;
    case way::kill: ::kill(::getpid(), SIGKILL); break;
    case way::terminate: std::terminate();
    case way::thread_throws: std::thread([] { throw std::out_of_range("of a thread"); }).join(); break;
    case way::noexcept_throws: through_noexcept(); break;
    case way::pthread_exit: ::pthread_exit(nullptr);
  }
  return 0;
}

TEST_F(deaths, exit_is_named_with_its_code) {
  for (const way how : {way::exit, way::underscore_exit, way::quick_exit}) {
    tandem::process p({.name = "leaver"}, leave, how);
    p.join();
    ASSERT_TRUE(p.status());
    EXPECT_EQ(p.status()->kind(), ending::exited);
    EXPECT_EQ(p.status()->code(), 3);
    EXPECT_EQ(p.status()->signal(), 0);
    EXPECT_EQ(p.status()->why(), cause::none);
    EXPECT_FALSE(p.status()->ok());
    try {
      p.get();
      FAIL();
    } catch (const tandem::worker_exited& exited) {
      EXPECT_EQ(exited.report().status.code(), 3);
      EXPECT_EQ(exited.report().worker, "leaver");
      EXPECT_EQ(exited.report().pid, p.id());
      EXPECT_THAT(exited.what(), testing::HasSubstr("'leaver'"));
      EXPECT_THAT(exited.what(), testing::HasSubstr("exited with code 3"));
    }
  }
}

TEST_F(deaths, pthread_exit_of_the_worker_is_an_exit) {
  tandem::process p(leave, way::pthread_exit);
  EXPECT_THROW(p.get(), tandem::worker_exited);
}

TEST_F(deaths, a_signal_is_named) {
  for (const auto& [how, number] : {std::pair{way::abort, SIGABRT}, {way::segv, SIGSEGV}, {way::kill, SIGKILL}}) {
    tandem::process p(leave, how);
    EXPECT_THROW(p.get(), tandem::worker_crashed);
    EXPECT_EQ(p.status()->kind(), ending::signalled);
    EXPECT_EQ(p.status()->signal(), number);
    EXPECT_EQ(p.status()->why(), cause::none);
    EXPECT_EQ(p.status()->code(), 0);
    EXPECT_TRUE(p.report());
  }
}

TEST_F(deaths, an_uncaught_exception_is_named) {
  tandem::process t(leave, way::thread_throws);
  try {
    t.get();
    FAIL();
  } catch (const tandem::worker_crashed& crashed) {
    EXPECT_EQ(crashed.report().exception_type, "std::out_of_range");
    EXPECT_EQ(crashed.report().message, "of a thread");
    EXPECT_EQ(crashed.report().status.signal(), SIGABRT);
  }
  tandem::process n(leave, way::noexcept_throws);
  EXPECT_THROW(n.get(), tandem::worker_crashed);
  EXPECT_EQ(n.report()->exception_type, "std::domain_error");
  tandem::process u(leave, way::terminate);
  EXPECT_THROW(u.get(), tandem::worker_crashed);
  EXPECT_THAT(u.report()->message, testing::HasSubstr("std::terminate"));
}

TEST_F(deaths, terminate_kill_and_signal_are_requested) {
  tandem::process t(wait_for_ever);
  t.terminate();
  t.join();
  EXPECT_EQ(t.status()->signal(), SIGTERM);
  EXPECT_EQ(t.status()->why(), cause::requested);
  tandem::process k(wait_for_ever);
  k.kill();
  k.join();
  EXPECT_EQ(k.status()->signal(), SIGKILL);
  EXPECT_EQ(k.status()->why(), cause::requested);
  tandem::process s(wait_for_ever);
  s.signal(SIGUSR1);
  s.join();
  EXPECT_EQ(s.status()->signal(), SIGUSR1);
  EXPECT_EQ(s.status()->why(), cause::requested);
  EXPECT_THROW(s.get(), tandem::worker_crashed);
}

TEST_F(deaths, a_strangers_signal_has_no_cause) {
  tandem::process p(wait_for_ever);
  ::kill(p.id(), SIGKILL);
  p.join();
  EXPECT_EQ(*p.status(), tandem::exit_status::make(ending::signalled, SIGKILL));
}

TEST_F(deaths, signals_to_the_dead_do_nothing) {
  tandem::process p([] {});
  p.join();
  p.terminate();
  p.kill();
  p.signal(SIGUSR2);
  EXPECT_TRUE(p.status()->ok());
}

TEST_F(deaths, bad_signals_are_refused) {
  tandem::process p(wait_for_ever);
  for (const int number : {0, -1, 65, 1'000'000}) EXPECT_THROW(p.signal(number), std::invalid_argument);
  p.kill();
  tandem::process<int> empty;
  EXPECT_THROW(empty.kill(), std::system_error);
  EXPECT_THROW(empty.terminate(), std::system_error);
}

TEST_F(deaths, the_destructor_goes_down_the_ladder) {
  {  // ends at the first rung: the request to stop
    tandem::process polite([](std::stop_token stop) {
      while (!stop.stop_requested()) std::this_thread::yield();
    });
  }
  {  // at the second
    tandem::process deaf({.stop_grace = 1ms, .kill_grace = 1h}, wait_for_ever);
  }
  {  // at the third
    tandem::process stubborn({.stop_grace = 1ms, .kill_grace = 1ms}, [] {
      ::signal(SIGTERM, SIG_IGN);
      wait_for_ever();
    });
  }
  {  // a stopped one is ended as well
    tandem::process stopped({.stop_grace = 1ms, .kill_grace = 1ms}, wait_for_ever);
    stopped.signal(SIGSTOP);
  }
}

TEST_F(deaths, a_full_ladder_in_an_assignment) {
  tandem::process p({.stop_grace = 1ms, .kill_grace = 1ms}, wait_for_ever);
  p = tandem::process(wait_for_ever);
  EXPECT_TRUE(p.running());
  p.kill();
}

// ---- where it dies ------------------------------------------------------------------------------------------------

enum class moment { none, encode, decode, destroy };
struct bomb {
  moment when = moment::none;
  way how = way::abort;
  bool throws = false;
  bool armed = false;  // only the worker's own copy explodes when it is destroyed
  bomb() = default;
  bomb(moment m, way w, bool t) : when(m), how(w), throws(t) {}
  bomb(const bomb&) = default;
  bomb(bomb&& other) noexcept
      : when(other.when), how(other.how), throws(other.throws), armed(std::exchange(other.armed, false)) {}
  bomb& operator=(const bomb&) = default;
  ~bomb() {
    if (armed && when == moment::destroy) leave(how);
  }
  void explode(moment now) const {
    if (now != when) return;
    if (throws) throw std::length_error("the bomb");
    leave(how);
  }
};

}  // namespace

template <>
struct tandem::transfer<bomb> {
  static void write(writer& w, const bomb& b) {
    if (this_worker::is_process() || b.throws) b.explode(moment::encode);
    w(static_cast<int>(b.when));
    w(static_cast<int>(b.how));
    w(b.throws);
  }
  static bomb read(reader& r) {
    int when = 0;
    int how = 0;
    bool throws = false;
    r(when);
    r(how);
    r(throws);
    bomb b(static_cast<moment>(when), static_cast<way>(how), throws);
    if (this_worker::is_process()) b.explode(moment::decode);
    b.armed = this_worker::is_process();
    return b;
  }
};

namespace {

int take_bomb(bomb) { return 1; }
bomb give_bomb(int when, int how, bool throws) {
  return bomb(static_cast<moment>(when), static_cast<way>(how), throws);
}

TEST_F(deaths, throwing_anywhere_arrives) {
  EXPECT_THROW(tandem::process(take_bomb, bomb(moment::encode, way::abort, true)), std::length_error);
  tandem::process decode(take_bomb, bomb(moment::decode, way::abort, true));
  EXPECT_THROW(decode.get(), std::length_error);
  tandem::process result(give_bomb, static_cast<int>(moment::encode), 0, true);
  EXPECT_THROW(result.get(), std::length_error);
  EXPECT_EQ(result.status()->kind(), ending::threw);
}

TEST_F(deaths, dying_anywhere_is_one_defined_error) {
  for (const way how : {way::exit, way::underscore_exit, way::segv, way::kill}) {
    const bool exits = how == way::exit || how == way::underscore_exit;
    const auto expect_death = [&](auto&& p, const char* where) {
      EXPECT_EQ(p.join_for(1h), true);
      EXPECT_EQ(p.status()->kind(), exits ? ending::exited : ending::signalled)
          << where << " " << static_cast<int>(how);
      if (exits) {
        EXPECT_THROW(p.get(), tandem::worker_exited) << where;
      } else {
        EXPECT_THROW(p.get(), tandem::worker_crashed) << where;
      }
    };
    expect_death(tandem::process(leave, how), "body");
    expect_death(tandem::process(take_bomb, bomb(moment::decode, how, false)), "decode an argument");
    expect_death(tandem::process(take_bomb, bomb(moment::destroy, how, false)), "destroy an argument");
    expect_death(tandem::process(give_bomb, static_cast<int>(moment::encode), static_cast<int>(how), false),
                 "encode a result");
  }
}

struct dies_statically {
  bool armed = false;
  ~dies_statically() {
    if (armed) std::abort();
  }
} static_object;

TEST_F(deaths, no_static_destructor_runs_in_a_worker) {
  tandem::process returns([] { static_object.armed = true; });
  EXPECT_NO_THROW(returns.get());
  tandem::process exits([] {
    static_object.armed = true;
    std::exit(5);
  });
  exits.join();
  EXPECT_EQ(exits.status()->code(), 5);
}

struct two_arguments : std::exception {
  two_arguments(int a, int b) : sum(a + b) {}
  const char* what() const noexcept override { return "two"; }
  int sum;
};

TEST_F(deaths, what_cannot_be_rebuilt_is_a_remote_exception) {
  tandem::process p([] { throw two_arguments(1, 2); });
  try {
    p.get();
    FAIL();
  } catch (const tandem::remote_exception& e) {
    EXPECT_THAT(e.type_name(), testing::HasSubstr("two_arguments"));
    EXPECT_STREQ(e.what(), "two");
  }
  tandem::process q([] { throw 42; });
  EXPECT_THROW(q.get(), tandem::remote_exception);
  tandem::process r([] {
    try {
      throw std::runtime_error("inner");
    } catch (...) {
      std::throw_with_nested(std::runtime_error("outer"));
    }
  });
  EXPECT_THROW(r.get(), tandem::remote_exception);
}

TEST_F(deaths, the_workers_own_library_errors_arrive) {
  tandem::process p([] {
    tandem::process inner(leave, way::segv);
    inner.get();
  });
  try {
    p.get();
    FAIL();
  } catch (const tandem::worker_crashed& e) {
    EXPECT_EQ(e.report().status.signal(), SIGSEGV);
  }
}

// ---- many ---------------------------------------------------------------------------------------------------------

TEST_F(deaths, a_hundred_returned_and_a_hundred_killed) {
  std::vector<tandem::process<int>> returned;
  std::vector<tandem::process<void>> killed;
  for (int i = 0; i < 100; ++i) {
    returned.emplace_back([](int n) { return n; }, i);
    killed.emplace_back(tandem::process(wait_for_ever));
  }
  for (auto& p : killed) p.kill();
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(returned[static_cast<std::size_t>(i)].get(), i);
    killed[static_cast<std::size_t>(i)].join();
    EXPECT_EQ(killed[static_cast<std::size_t>(i)].status()->signal(), SIGKILL);
  }
}

TEST_F(deaths, the_first_child_and_the_last_have_the_same_descriptors) {
  const auto count = [] { return tandem::os::open_descriptors().size(); };
  std::array<int, 2> pipe{};
  const auto first = tandem::process(count).get();
  ASSERT_EQ(::pipe(pipe.data()), 0);  // made after init: not in any child
  std::vector<tandem::process<void>> others;
  for (int i = 0; i < 20; ++i) others.emplace_back(tandem::process(wait_for_ever));
  EXPECT_EQ(tandem::process(count).get(), first);
  EXPECT_TRUE(tandem::process(
                  [](int fd) {
                    std::error_code failed;
                    const auto target =
                        std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), failed).string();
                    return target.find("pipe") == std::string::npos;
                  },
                  pipe[0])
                  .get());
  for (auto& p : others) p.kill();
  others.clear();
  EXPECT_EQ(tandem::process(count).get(), first);
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_F(deaths, every_exit_code_is_as_the_kernel_has_it) {
  for (const auto& [given, seen] : {std::pair{0, 0}, {1, 1}, {7, 7}, {255, 255}, {256, 0}, {-1, 255}}) {
    tandem::process p([](int code) { std::exit(code); }, given);
    p.join();
    EXPECT_EQ(*p.status(), tandem::exit_status::make(ending::exited, seen));
    EXPECT_THROW(p.get(), tandem::worker_exited);  // also of 0: the function has not returned
  }
}

TEST_F(deaths, a_worker_outlives_the_thread_that_started_it) {
  std::optional<tandem::process<int>> p;
  std::thread([&] {
    p.emplace([](std::stop_token stop) {
      while (!stop.stop_requested()) std::this_thread::yield();
      return 4;
    });
  }).join();
  EXPECT_FALSE(p->join_for(20ms));
  p->request_stop();
  EXPECT_EQ(p->get(), 4);
}

TEST_F(deaths, signals_to_keeper_and_server_change_nothing) {
  tandem::process p([](std::stop_token stop) {
    while (!stop.stop_requested()) std::this_thread::yield();
    return 4;
  });
  const pid_t keeper = tandem::os::children_of(::getpid()).at(0);
  const pid_t server = tandem::os::children_of(keeper).at(0);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1}) {
    ::kill(keeper, number);
    ::kill(server, number);
  }
  EXPECT_EQ(tandem::process([] { return 5; }).get(), 5);
  p.request_stop();
  EXPECT_EQ(p.get(), 4);
  EXPECT_EQ(tandem::os::children_of(::getpid()).at(0), keeper);
  EXPECT_EQ(tandem::os::children_of(keeper).at(0), server);
}

TEST_F(deaths, a_worker_has_the_signals_of_a_fresh_program) {
  ::signal(SIGUSR1, SIG_IGN);
  sigset_t blocked;
  sigset_t old;
  ::sigfillset(&blocked);
  ::pthread_sigmask(SIG_SETMASK, &blocked, &old);
  tandem::process p([] {
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    bool fresh = ::getpgrp() == ::getpid();
    for (int number = 1; number < 32; ++number) {
      struct sigaction now {};
      if (::sigaction(number, nullptr, &now) == 0 && now.sa_handler != SIG_DFL) fresh = false;
      if (::sigismember(&mask, number) == 1) fresh = false;
    }
    return fresh;
  });
  EXPECT_TRUE(p.get());
  ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
  ::signal(SIGUSR1, SIG_DFL);
}

TEST_F(deaths, a_childs_copy_of_a_worker_is_no_worker) {
  tandem::process p([] {
    int ends[2];
    static_cast<void>(!::pipe(ends));
    if (::fork() == 0) {
      bool none = !tandem::this_worker::is_process() && tandem::this_worker::name().empty();
      try {
        tandem::process inner([] {});
        none = false;
      } catch (const tandem::not_initialised&) {
      }
      static_cast<void>(!::write(ends[1], none ? "y" : "n", 1));
      std::terminate();  // writes no note into the page of its parent
    }
    char answer = 0;
    static_cast<void>(!::read(ends[0], &answer, 1));
    ::wait(nullptr);
    return std::string(1, answer) + tandem::this_worker::name();
  });
  EXPECT_EQ(p.get(), "y" + p.name());
}

TEST_F(deaths, a_grandchild_that_holds_descriptors_hides_no_death) {
  tandem::process p([] {
    if (::fork() == 0) wait_for_ever();  // ended with the worker's orphans, when the host ends or kills the worker
    return ::getpid();
  });
  EXPECT_TRUE(p.join_for(1h));
  const auto server = tandem::test::descendants_of(::getpid());
  EXPECT_GT(p.get(), 0);
  for (const pid_t pid : server) {
    std::ifstream comm("/proc/" + std::to_string(pid) + "/comm");
    std::string name;
    std::getline(comm, name);
    if (name == p.name()) ::kill(pid, SIGKILL);  // the orphan: the keeper's now
  }
}

TEST_F(deaths, killing_a_worker_kills_what_is_below_it) {
  tandem::process p([] {
    for (int i = 0; i < 2; ++i) {
      if (::fork() == 0) {
        ::setsid();
        static_cast<void>(!::fork());
        wait_for_ever();
      }
    }
    wait_for_ever();
  });
  const pid_t pid = p.id();
  ASSERT_TRUE(tandem::test::eventually([&] { return tandem::test::descendants_of(pid).size() == 4; }));
  const auto below = tandem::test::descendants_of(pid);
  p.kill();
  p.join();
  for (const pid_t one : below) {
    EXPECT_TRUE(tandem::test::eventually([&] { return !tandem::test::exists(one); }));
  }
}

// A fork that has begun when the worker is stopped still makes its child. The fixture finds those that were missed.
TEST_F(deaths, killing_a_worker_misses_no_child_that_is_being_made) {
  for (int i = 0; i < 150; ++i) {
    tandem::process p([] {
      for (int n = 0; n < 100; ++n) {
        if (::fork() == 0) wait_for_ever();
      }
      wait_for_ever();
    });
    ASSERT_TRUE(tandem::test::eventually([&] { return !tandem::os::children_of(p.id()).empty(); }));
    p.kill();
    p.join();
  }
}

TEST_F(deaths, a_nested_workers_children_die_with_it) {
  tandem::process p([] {
    tandem::process inner(wait_for_ever);
    wait_for_ever();
  });
  const auto count = [] { return tandem::test::descendants_of(::getpid()).size(); };
  const std::size_t before = 2;  // keeper and server
  ASSERT_TRUE(tandem::test::eventually([&] { return count() == before + 2; }));
  p.kill();
  p.join();
  EXPECT_TRUE(tandem::test::eventually([&] { return count() == before; }));
}

TEST_F(deaths, the_native_handle_polls) {
  tandem::process p(wait_for_ever);
  std::array<tandem::os::ready, 1> set{{{p.native_handle()}}};
  EXPECT_EQ(tandem::os::wait_ready(set, tandem::clock::now()), 0);
  p.kill();
  EXPECT_EQ(tandem::os::wait_ready(set), 1);
  p.join();
  EXPECT_EQ(tandem::os::wait_ready(set), 1);
}

TEST_F(deaths, a_users_wait_calls_steal_nothing) {
  tandem::process p([] { return 1; });
  EXPECT_EQ(::waitpid(-1, nullptr, 0), -1);
  EXPECT_EQ(errno, ECHILD);
  struct sigaction ignore {};
  struct sigaction old {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGCHLD, &ignore, &old);
  tandem::process q(leave, way::exit);
  q.join();
  EXPECT_EQ(q.status()->code(), 3);
  ::sigaction(SIGCHLD, &old, nullptr);
  EXPECT_EQ(p.get(), 1);
}

TEST_F(deaths, reports_say_what_was_used) {
  tandem::process p([] {
    std::vector<char> memory(std::size_t{64} << 20, 'x');
    volatile long sum = 0;
    for (const char c : memory) sum = sum + c;
    std::abort();
  });
  p.join();
  ASSERT_TRUE(p.report());
  EXPECT_GT(p.report()->usage.peak_memory_bytes, std::size_t{64} << 20);
  EXPECT_GT(p.report()->usage.cpu_time, 0ns);
  EXPECT_THAT(p.report()->to_json(), testing::HasSubstr("\"signal\":6"));
}

}  // namespace
