// What needs a process of its own to be seen: start-up, and the end of the program. One scenario for each word; each
// prints what it saw, and the test compares.
#include <pthread.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cwchar>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>

#include <tandem/tandem.hpp>

#include "os/kernel.hpp"
#include "scenarios.hpp"
#include "support/leaks.hpp"

namespace {

using namespace std::chrono_literals;

// A daemon below the worker: a session of its own, forked twice.
void leave_a_daemon() {
  if (::fork() == 0) {
    ::setsid();
    if (::fork() == 0) wait_for_ever();
    ::_exit(0);
  }
  ::wait(nullptr);
}

// ---- start-up -----------------------------------------------------------------------------------------------------

void lazy() { run_one(); }

void late() {
  std::jthread other([](std::stop_token stop) {
    std::mutex m;
    std::condition_variable_any c;
    std::unique_lock lock(m);
    c.wait(lock, stop, [] { return false; });
  });
  expect_error<tandem::not_initialised>(run_one);
  expect_error<tandem::not_initialised>([] { tandem::init(); });
  other = {};
  run_one();  // single-threaded again
}

int loaded = 0;
int loads = 0;

void preload() {
  tandem::init({.preload = [] {
    loaded = 42;
    ++loads;
  }});
  say("host " + std::to_string(loaded));
  for (int i = 0; i < 3; ++i)
    say("worker " + std::to_string(tandem::process([] { return loaded * 10 + loads; }).get()));
}

void preload_throws() {
  expect_error<std::range_error>([] { tandem::init({.preload = [] { throw std::range_error("no dictionary"); }}); });
  run_one();
}

void preload_throws_a_stranger() {
  expect_error<tandem::remote_exception>([] { tandem::init({.preload = [] { throw 42; }}); });
}

void preload_exits() {
  expect_error<tandem::worker_exited>([] { tandem::init({.preload = [] { std::exit(9); }}); });
  run_one();
}

void preload_crashes() {
  expect_error<tandem::worker_crashed>([] { tandem::init({.preload = [] { std::abort(); }}); });
}

void preload_leaves_a_thread() {
  expect_error<std::logic_error>([] { tandem::init({.preload = [] { std::thread(wait_for_ever).detach(); }}); });
  run_one();
}

void preload_starts_workers() {
  expect_error<tandem::not_initialised>([] { tandem::init({.preload = run_one}); });
}

int preloaded_descriptor = -1;
void preload_descriptors() {
  tandem::init({.preload = [] {
    int ends[2];
    static_cast<void>(!::pipe(ends));
    static_cast<void>(!::write(ends[1], "kept", 4));
    preloaded_descriptor = ends[0];
  }});
  say(tandem::process([] {
        char buffer[5] = {};
        static_cast<void>(!::read(preloaded_descriptor, buffer, 4));
        return std::string(buffer);
      }).get());
}

void twice() {
  tandem::init();
  tandem::init();
  run_one();
  expect_error<std::logic_error>([] { tandem::init({.preload = [] {}}); });
  run_one();
}

void init_in_a_worker() {
  tandem::init();
  say("value " + std::to_string(tandem::process([] {
                                  tandem::init();
                                  return tandem::process(square, 3).get();
                                }).get()));
}

// Locks of a threaded host are not in its workers: B1.
std::mutex busy_mutex;
void busy_locks() {
  tandem::init();
  std::jthread locker([](std::stop_token stop) {
    while (!stop.stop_requested()) {
      const std::lock_guard lock(busy_mutex);
      const std::time_t now = std::time(nullptr);
      std::tm broken{};
      ::localtime_r(&now, &broken);
      ::setenv("TANDEM_TEST", "x", 1);
      std::free(std::malloc(100'000));
    }
  });
  for (int i = 0; i < 100; ++i) {
    tandem::process p([] {
      const std::lock_guard lock(busy_mutex);
      const std::time_t now = std::time(nullptr);
      std::tm broken{};
      ::localtime_r(&now, &broken);
      ::setenv("TANDEM_TEST", "y", 1);
      std::free(std::malloc(100'000));
    });
    p.get();
  }
  say("100 returned");
}

// ---- fork by the user ---------------------------------------------------------------------------------------------

void detached() {
  tandem::init();
  auto p = tandem::process([](std::stop_token stop) {
    while (!stop.stop_requested()) std::this_thread::yield();
    return 5;
  });
  auto t = tandem::thread([](std::stop_token stop) {
    while (!stop.stop_requested()) std::this_thread::yield();
    return 6;
  });
  const pid_t child = ::fork();
  if (child == 0) {
    expect_error<tandem::not_initialised>(run_one);
    expect_error<tandem::not_initialised>([] { tandem::init(); });
    expect_error<tandem::error>([&] { p.join(); });
    p = {};  // neither waits nor ends what is the original's
    t = {};
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  say("child " + std::to_string(status) + ", process runs: " + std::to_string(p.running()));
  p.request_stop();
  t.request_stop();
  say("values " + std::to_string(p.get()) + " " + std::to_string(t.get()));
  run_one();
}

// ---- the end of the program ---------------------------------------------------------------------------------------

void start_family(int workers) {
  std::array<tandem::file_descriptor, 2> told;
  tandem::os::check(tandem::os::pipe_pair(told), "pipe2");
  for (int i = 0; i < workers; ++i) {
    static auto* const family = new std::vector<tandem::process<void>>;  // never destroyed: nobody tidies up
    family->emplace_back(
        [](const tandem::file_descriptor& told_end) {
          leave_a_daemon();
          static_cast<void>(!::write(told_end.get(), "1", 1));
          wait_for_ever();
        },
        told[1]);
  }
  std::array<std::byte, 1> one;
  for (int i = 0; i < workers; ++i) tandem::os::check(tandem::os::read_some(told[0].get(), one), "read");
  std::string pids;
  for (const pid_t pid : tandem::test::descendants_of(::getpid())) pids += std::to_string(pid) + " ";
  say(pids);
}

void family() {
  tandem::init();
  start_family(20);
  wait_for_ever();  // lint: sleep until the test kills this program
}

void pid_namespace() {
  tandem::init({.pid_namespace = true});
  tandem::init();
  tandem::process p({.name = "inside"}, [](std::stop_token stop) {
    while (!stop.stop_requested()) std::this_thread::yield();
    return ::getpid() == tandem::this_worker::id() && ::getpid() > 1 ? ::getpid() : -1;
  });
  const pid_t seen = p.id();
  say(tandem::os::children_of(::getpid()).size() == 1 && tandem::test::exists(seen) ? "seen" : "not seen");
  p.request_stop();
  const pid_t inside = p.get();
  say(inside > 1 && inside < 100 && inside != seen ? "numbered apart" : "numbered " + std::to_string(inside));
  tandem::process aborting([] { std::abort(); });
  aborting.join();
  say(aborting.status()->to_string());
  say("nested " + std::to_string(tandem::process([] { return tandem::process(square, 4).get(); }).get()));
  say("fresh " + std::to_string(tandem::process({.start = tandem::start_method::spawn}, square, 5).get()));
  // A worker that kills one of its own, with all below it.
  say(std::to_string(tandem::process([] {
                       tandem::process inner([] {
                         leave_a_daemon();
                         wait_for_ever();
                       });
                       tandem::test::eventually([&] { return tandem::os::children_of(inner.id()).size() == 1; });
                       inner.kill();
                       inner.join();
                       return inner.status()->signal();
                     }).get()));
}

void family_in_namespace() {
  tandem::init({.pid_namespace = true});
  start_family(20);
  wait_for_ever();  // lint: sleep until the test kills this program
}

void fresh_without_init() {
  expect_error<tandem::not_initialised>(
      [] { tandem::process({.start = tandem::start_method::spawn}, square, 5).get(); });
  say("value " + std::to_string(tandem::process(square, 7).get()));
}

void fresh_that_stops_before_init() {
  tandem::init();
  ::setenv("TANDEM_TEST_NO_INIT", "1", 1);  // its main looks at this
  tandem::process p({.start = tandem::start_method::spawn, .environment = {{"TANDEM_TEST_NO_INIT", "1"}}}, square, 5);
  expect_error<tandem::worker_exited>([&] { p.get(); });
}

void rights_given_up() {
  tandem::init();
  tandem::process endless([](std::stop_token) { wait_for_ever(); });
  if (::setgid(65534) != 0 || ::setuid(65534) != 0) return say("not root");
  expect_error<tandem::resource_exhausted>([] { tandem::process(square, 5).get(); });
  {
    tandem::process ending = std::move(endless);
    ending.request_stop();
    ending.kill();
    say(ending.join_for(std::chrono::seconds(20)) ? "killed" : "lives");
  }
}

void wide_output() {
  std::ios::sync_with_stdio(false);
  std::clog << "log of the program ";
  std::wcout << L"wide of the program ";
  tandem::init({.preload = [] { std::printf("preloaded "); }});
  tandem::process([] { std::wcout << L"wide of the worker "; }).join();
  std::wcout.flush();
}

// Of C, left in their buffers.
void own_streams() {
  tandem::init();
  tandem::process([] { std::wprintf(L"wide of the worker "); }).join();
  tandem::process([] {
    std::FILE* own = std::fopen("/proc/self/fd/1", "w");
    std::fputs("a stream of the worker's own ", own);
  }).join();
}

void namespace_too_late() {
  tandem::init();
  expect_error<std::logic_error>([] { tandem::init({.pid_namespace = true}); });
}

void family_returns() {
  tandem::init();
  start_family(3);
}

void family_execs() {
  tandem::init();
  start_family(3);
  ::execlp("sleep", "sleep", "1000", nullptr);
}

struct server_pids {
  pid_t keeper = 0;
  pid_t server = 0;
};
server_pids find_servers() {
  server_pids found;
  found.keeper = tandem::os::children_of(::getpid()).at(0);
  found.server = tandem::os::children_of(found.keeper).at(0);
  return found;
}

void say_how_it_ended(tandem::process<void>& p) {
  p.join();
  say(p.status()->to_string());
}

void server_killed() {
  tandem::init();
  tandem::process p([] {
    leave_a_daemon();
    wait_for_ever();
  });
  tandem::test::eventually([] { return tandem::test::descendants_of(::getpid()).size() == 4; });
  const auto family = tandem::test::descendants_of(::getpid());
  ::kill(find_servers().server, SIGKILL);
  say_how_it_ended(p);
  run_one();
  const bool gone = tandem::test::eventually([&] {
    return std::count_if(family.begin(), family.end(), [](pid_t pid) { return tandem::test::exists(pid); }) ==
           1;  // the keeper
  });
  say(gone ? "nothing is left" : "something is left");
}

void server_killed_many_times() {
  tandem::init();
  for (int i = 0; i < 10; ++i) {
    ::kill(find_servers().server, SIGKILL);
    run_one();
  }
}

void keeper_killed() {
  tandem::init();
  tandem::process p([](std::stop_token stop) {
    while (!stop.stop_requested()) std::this_thread::yield();
    return 11;
  });
  ::kill(find_servers().keeper, SIGKILL);
  run_one();
  p.request_stop();
  say("kept " + std::to_string(p.get()));
}

void both_killed() {
  tandem::init();
  tandem::process p(wait_for_ever);
  const server_pids both = find_servers();
  ::kill(both.keeper, SIGKILL);
  ::kill(both.server, SIGKILL);
  say_how_it_ended(p);
  run_one();
  std::jthread other([](std::stop_token stop) {
    while (!stop.stop_requested()) std::this_thread::yield();
  });
  const server_pids again = find_servers();
  ::kill(again.keeper, SIGKILL);
  ::kill(again.server, SIGKILL);
  tandem::test::eventually([&] { return !tandem::test::exists(again.server) && !tandem::test::exists(again.keeper); });
  expect_error<tandem::not_initialised>(run_one);
}

// ---- output -------------------------------------------------------------------------------------------------------

void output() {
  tandem::init();
  std::printf("before ");  // stays in the buffer of this program, and appears once
  std::vector<tandem::process<void>> all;
  for (int i = 0; i < 4; ++i) {
    all.emplace_back(
        [](int n) {
          for (int line = 0; line < 500; ++line)
            std::printf("worker %d line %d of many that share one pipe\n", n, line);
          std::cout << "the end of " << n << "\n";
          std::printf("without a newline");
          std::printf("\n");
        },
        i);
  }
  all.clear();
  std::printf("after\n");
}

void print_one() {
  tandem::init();
  tandem::on_log([](tandem::log_level, std::string_view text) {
    std::fprintf(stderr, "log: %.*s\n", int(text.size()), text.data());
  });
  tandem::process p([] {
    std::printf("a line\n");
    return 3;
  });
  std::fprintf(stderr, "value %d\n", p.get());
}

void crash_text() {
  tandem::init();
  tandem::process p([] {
    std::fprintf(stderr, "the last words");
    std::thread([] { throw std::domain_error("of a thread"); }).join();
  });
  p.join();
}

// ---- a main that has blocked and ignored all signals before it comes to init() --------------------------------------

void deaf() {
  const auto hears = [] {
    sigset_t blocked;
    ::sigprocmask(SIG_BLOCK, nullptr, &blocked);
    struct sigaction term {};
    ::sigaction(SIGTERM, nullptr, &term);
    return std::pair(::sigismember(&blocked, SIGTERM) == 0, term.sa_handler == SIG_DFL);
  };
  for (const auto start : {tandem::start_method::fork_server, tandem::start_method::spawn}) {
    const auto [unblocked, standard] = tandem::process({.start = start}, hears).get();
    say("unblocked " + std::to_string(unblocked) + " standard " + std::to_string(standard));
    tandem::process p({.start = start}, wait_for_ever);
    p.terminate();
    say_how_it_ended(p);
  }
}

// ---- without what most systems have -------------------------------------------------------------------------------

void no_proc() {
  if (::umount2("/proc", MNT_DETACH) != 0) return say("cannot unmount /proc");
  run_one();
  tandem::process p([] { throw std::runtime_error("as ever"); });
  expect_error<std::runtime_error>([&] { p.get(); });
  tandem::process k(wait_for_ever);
  k.kill();
  say_how_it_ended(k);
  say("cpus " + std::to_string(tandem::available_cpus() > 0));
  say("workers " + std::to_string(tandem::active_workers().size()));
#if !defined(__SANITIZE_THREAD__)  // which has a thread of its own
  tandem::thread t(square, 7);
  t.join();
  tandem::process copy(tandem::fork_options{}, square, 7);  // no other thread runs any more
  say("copy " + std::to_string(copy.get()));
#else
  say("copy 49");
#endif
}

void no_file() {
  if (::umount2("/proc", MNT_DETACH) != 0) return say("cannot unmount /proc");
  tandem::init();
  if (::unlink(tandem::os::own_file()) != 0) return say("cannot remove the program");
  try {
    tandem::process({.start = tandem::start_method::spawn}, square, 7).get();
  } catch (const tandem::resource_exhausted& error) {
    say(error.what());
  }
}

int square_in_a_fresh_image(int n) {
  tandem::process inner({.start = tandem::start_method::spawn}, square, n);
  return inner.get();
}

void fresh_in_fresh() {
  tandem::init();
  tandem::process outer({.start = tandem::start_method::spawn}, square_in_a_fresh_image, 7);
  say("value " + std::to_string(outer.get()));
}

// Ends as soon as there is a copy, which may not have run yet.
void copy_at_the_end() {
  tandem::init();
  const tandem::process copy(tandem::fork_options{}, wait_for_ever);
  say(std::to_string(copy.id()));
  ::_exit(0);
}

const std::map<std::string, void (*)()> scenarios = {
    {"fresh_in_fresh", fresh_in_fresh},
    {"copy_at_the_end", copy_at_the_end},
    {"lazy", lazy},
    {"late", late},
    {"preload", preload},
    {"preload_throws", preload_throws},
    {"preload_throws_a_stranger", preload_throws_a_stranger},
    {"preload_exits", preload_exits},
    {"preload_crashes", preload_crashes},
    {"preload_leaves_a_thread", preload_leaves_a_thread},
    {"preload_starts_workers", preload_starts_workers},
    {"preload_descriptors", preload_descriptors},
    {"twice", twice},
    {"init_in_a_worker", init_in_a_worker},
    {"busy_locks", busy_locks},
    {"detached", detached},
    {"family", family},
    {"family_in_namespace", family_in_namespace},
    {"pid_namespace", pid_namespace},
    {"namespace_too_late", namespace_too_late},
    {"fresh_without_init", fresh_without_init},
    {"fresh_that_stops_before_init", fresh_that_stops_before_init},
    {"rights_given_up", rights_given_up},
    {"descriptors_on_their_way", descriptors_on_their_way},
    {"small_files", small_files},
    {"wide_output", wide_output},
    {"own_streams", own_streams},
    {"family_returns", family_returns},
    {"family_execs", family_execs},
    {"server_killed", server_killed},
    {"server_killed_many_times", server_killed_many_times},
    {"keeper_killed", keeper_killed},
    {"both_killed", both_killed},
    {"output", output},
    {"print_one", print_one},
    {"crash_text", crash_text},
    {"deaf", deaf},
    {"no_proc", no_proc},
    {"no_file", no_file},
};

}  // namespace

int main(int argc, char** argv) {
  if (std::getenv("TANDEM_TEST_NO_INIT") != nullptr && std::getenv("TANDEM_FRESH_IMAGE") != nullptr) return 77;
  if (argc == 2 && argv[1] == std::string("deaf")) {
    sigset_t all;
    ::sigfillset(&all);
    ::sigprocmask(SIG_BLOCK, &all, nullptr);
    ::signal(SIGTERM, SIG_IGN);
    tandem::init();
  }
  const auto found = argc == 2 ? scenarios.find(argv[1]) : scenarios.end();
  if (found == scenarios.end()) {
    std::fputs("usage: scenarios NAME\n", stderr);
    return 2;
  }
  try {
    found->second();
  } catch (const std::exception& e) {
    say(std::string("unexpected: ") + e.what());
    return 1;
  }
  return 0;
}
