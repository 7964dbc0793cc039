// pool_host busy|decode: a program with pools of processes for process_host_test to end.
//   busy: workers that compute, one with a child, and a pool inside a worker; says the pids of all, and goes on for ever
//   decode: dies while it decodes the result of a task
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include <tandem/process_pool.hpp>
#include <tandem/tandem.hpp>

#include "support/leaks.hpp"

namespace {

struct crashes_when_read {};

void say_family() {
  std::string line;
  for (const pid_t pid : tandem::test::descendants_of(::getpid())) line += std::to_string(pid) + " ";
  line += "\n";
  static_cast<void>(!::write(STDOUT_FILENO, line.data(), line.size()));
}

void ready(const tandem::file_descriptor& fd) { static_cast<void>(!::write(fd.get(), "r", 1)); }
void compute_for_ever(const tandem::file_descriptor& fd) {
  ready(fd);
  for (volatile int i = 0;; static_cast<void>(i)) {
  }
}
void leave_a_child(const tandem::file_descriptor& fd) {
  if (::fork() == 0) {
    ready(fd);
    for (;;) ::pause();
  }
}
void have_a_pool(const tandem::file_descriptor& fd) {
  tandem::process_pool inner(1);
  inner.submit(compute_for_ever, fd).get();
}

}  // namespace

template <>
struct tandem::transfer<crashes_when_read> {
  static void write(writer& w, crashes_when_read) { w(1); }
  static crashes_when_read read(reader&) {
    say_family();
    ::raise(SIGABRT);  // sanitizers make an exit of others
    return {};
  }
};

int main(int count, char** values) {
  tandem::init();
  const std::string what = count > 1 ? values[1] : "";
  tandem::process_pool pool(3);
  int ends[2];
  if (::pipe(ends) != 0) return 1;
  const tandem::file_descriptor in(ends[0]), out(ends[1]);
  static_cast<void>(pool.submit(leave_a_child, out));
  static_cast<void>(pool.submit(compute_for_ever, out));
  static_cast<void>(pool.submit(have_a_pool, out));
  char byte = 0;
  for (int i = 0; i < 3; ++i) {
    if (::read(in.get(), &byte, 1) != 1) return 1;
  }
  if (what == "decode") {
    pool.submit([] { return crashes_when_read(); }).get();
    return 1;
  }
  say_family();
  for (;;) ::pause();
}
