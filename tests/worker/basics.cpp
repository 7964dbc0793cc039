// What everybody does with tandem, each thing once and in words: run by tests on systems that lack something. An error
// is told and not the end, since the rest must work, or say so, all the same.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string>

#include <tandem/tandem.hpp>

#include "support/leaks.hpp"
#include "support/watchdog.hpp"
#include "sync/mapped.hpp"

namespace {

constexpr std::size_t large_bytes = std::size_t{1} << 20;

[[noreturn]] void wait_for_ever() {
  for (;;) ::pause();
}

int wait_for_stop(std::stop_token stop) {
  while (!stop.stop_requested()) std::this_thread::yield();
  return 5;
}

// The text of what `action` does or throws.
std::string told(const std::function<std::string()>& action) {
  try {
    return action();
  } catch (const tandem::unsupported& e) {
    return std::string("unsupported: ") + e.what();
  } catch (const std::exception& e) {
    return std::string("unexpected: ") + e.what();
  }
}

std::string ended(tandem::process<void>& p) {
  p.join();
  return p.status()->to_string();
}

std::string small_result() {
  return std::to_string(tandem::process([](int n) { return n * n; }, 7).get());
}

std::string large_result() {
  const std::string text = tandem::process([] { return std::string(large_bytes, 'x'); }).get();
  return text == std::string(large_bytes, 'x') ? "whole" : "broken";
}

std::string large_argument() {
  tandem::process p([](const std::string& text) { return text.size(); }, std::string(large_bytes, 'x'));
  return std::to_string(p.get());
}

std::string exception() {
  tandem::process p([] { throw std::out_of_range("as ever"); });
  try {
    p.get();
  } catch (const std::out_of_range& e) {
    return e.what();
  }
  return "nothing was thrown";
}

std::string stop() {
  tandem::process p(wait_for_stop);
  p.request_stop();
  return std::to_string(p.get());
}

std::string terminated() {
  tandem::process p(wait_for_ever);
  p.terminate();
  return ended(p);
}

std::string killed() {
  tandem::process p([] {
    if (::fork() == 0) wait_for_ever();  // goes with it
    wait_for_ever();
  });
  p.kill();
  return ended(p);
}

std::string destroyed() {
  const tandem::process p({.stop_grace = {}, .kill_grace = {}}, [] {
    ::signal(SIGTERM, SIG_IGN);
    wait_for_ever();
  });
  return "does not hang";
}

std::string crash() {
  tandem::process p({.name = "faulty"}, [] { ::raise(SIGSEGV); });
  try {
    p.get();
  } catch (const tandem::worker_crashed& e) {
    return e.report().worker + " " + std::to_string(e.report().status.signal());
  }
  return "nothing was thrown";
}

void throw_uncaught() { throw std::domain_error("nobody catches this"); }

std::string uncaught() {
  tandem::process p([]() noexcept { throw_uncaught(); });
  p.join();
  return p.report()->exception_type + ": " + p.report()->message;
}

std::string nested() {
  tandem::process p([] { return tandem::process([](int n) { return n + 1; }, 8).get(); });
  return std::to_string(p.get());
}

std::string thread() {
  return std::to_string(tandem::thread([](int n) { return n + 2; }, 8).get());
}

// A waiter sleeps when the owner is killed.
std::string lock() {
  const tandem::test::mapped<tandem::mutex> shared(std::in_place);
  const auto hold = [](const tandem::file_descriptor& file, const tandem::file_descriptor& told) {
    const tandem::test::mapped<tandem::mutex> mutex(file);
    mutex->lock();
    tandem::os::signal_event(told.get());
    for (;;) ::pause();
  };
  const tandem::file_descriptor held(tandem::os::make_event());
  tandem::process owner(hold, shared.file(), held);
  std::array<tandem::os::ready, 1> set{{{held.get()}}};
  tandem::os::wait_ready(set);
  tandem::process waiter(
      [](const tandem::file_descriptor& file) {
        const tandem::test::mapped<tandem::mutex> mutex(file);
        try {
          mutex->lock();
        } catch (const tandem::owner_died&) {
          return std::string("owner died");
        }
        return std::string("taken");
      },
      shared.file());
  tandem::test::eventually([&] { return tandem::test::sleeps_at_futex(waiter.id()); });
  owner.kill();
  return waiter.get();
}

void say(const char* what, const std::string& seen) { std::printf("%s: %s\n", what, seen.c_str()); }

}  // namespace

int main() {
  const tandem::test::watchdog watchdog;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  auto before = tandem::test::take_stock();
  say("init", told([] {
        tandem::init();
        return std::string("done");
      }));
  say("small result", told(small_result));
  if (tandem::test::take_stock().descendants != 0) before = tandem::test::take_stock();
  say("large result", told(large_result));
  say("large argument", told(large_argument));
  say("exception", told(exception));
  say("stop", told(stop));
  say("terminated", told(terminated));
  say("killed", told(killed));
  say("destroyed", told(destroyed));
  say("crash", told(crash));
  say("uncaught", told(uncaught));
  say("nested", told(nested));
  say("lock", told(lock));
  say("thread", told(thread));
  for (const std::string& leak : tandem::test::leaks_since(before)) say("left behind", leak);
}
