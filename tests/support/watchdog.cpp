#include "support/watchdog.hpp"

#include <dirent.h>
#include <execinfo.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "os/kernel.hpp"
#include "support/leaks.hpp"

namespace tandem::test {

namespace {

std::atomic<int> stacks_written{0};

void write_stack(int) {
  std::array<void*, 64> frames;
  const int count = ::backtrace(frames.data(), static_cast<int>(frames.size()));
  ::backtrace_symbols_fd(frames.data(), count, STDERR_FILENO);
  static_cast<void>(!::write(STDERR_FILENO, "--\n", 3));
  stacks_written.fetch_add(1);
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Not safe in a signal handler, strictly; but this process is about to abort, and a test that hangs has to be
// understood.
void bark(int) {
  std::fputs("the watchdog: this test hangs; the stacks of its threads:\n", stderr);
  write_stack(0);
  if (DIR* tasks = ::opendir("/proc/self/task")) {
    while (const dirent* entry = ::readdir(tasks)) {
      const int tid = std::atoi(entry->d_name);
      if (tid == 0 || tid == os::own_tid()) continue;
      const int written = stacks_written.load();
      ::syscall(SYS_tgkill, ::getpid(), tid, SIGUSR2);
      eventually([&] { return stacks_written.load() != written; }, 1);
    }
    ::closedir(tasks);
  }
  for (const pid_t pid : descendants_of(::getpid())) {
    const std::string process = "/proc/" + std::to_string(pid);
    std::fprintf(stderr, "descendant %d (%s) waits in %s, system call %s\n", pid, first_line(process + "/comm").c_str(),
                 first_line(process + "/wchan").c_str(), first_line(process + "/syscall").c_str());
  }
  std::abort();
}

}  // namespace

watchdog::watchdog(unsigned seconds) {
  std::array<void*, 1> warm;
  ::backtrace(warm.data(), 1);  // loads the unwinder now rather than in the handler
  ::signal(SIGUSR2, write_stack);
  ::signal(SIGALRM, bark);
  ::alarm(seconds);
}

watchdog::~watchdog() {
  ::alarm(0);
  ::signal(SIGALRM, SIG_DFL);
  ::signal(SIGUSR2, SIG_DFL);
}

}  // namespace tandem::test

#if defined(__SANITIZE_THREAD__)
// Who lets go of an exception last is counted in libstdc++, which ThreadSanitizer does not see into: it takes the deletion
// for a race with whoever read the exception before.
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_suppressions() {
  return "race:std::__exception_ptr::exception_ptr::_M_release\n";
}
#endif
