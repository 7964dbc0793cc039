#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "os/faults.hpp"
#include "os/kernel.hpp"
#include "os/system_call.hpp"

namespace tandem::os {

namespace {

// The kernel's sigset_t: a bit for each of the 64. Without the two that glibc keeps for itself (32 and 33).
[[gnu::hot]] void set_mask(std::uint64_t mask) noexcept {
  system_call(SYS_rt_sigprocmask, SIG_SETMASK, &mask, nullptr, sizeof mask);
}

}  // namespace

void block_signals() noexcept { set_mask(~(std::uint64_t{3} << 31)); }
void unblock_signals() noexcept { set_mask(0); }

void default_dispositions() noexcept {
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &standard, nullptr);  // SIGKILL and its like refuse
}

int child_signals() noexcept {
  if (const int e = injected()) return -e;
  sigset_t child;
  ::sigemptyset(&child);
  ::sigaddset(&child, SIGCHLD);
  const int fd = clear_of_standard(::signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
  return fd < 0 ? -errno : fd;
}

void drain(int signal_fd) noexcept {
  std::array<signalfd_siginfo, 4> ignored;  // one is pending at most: these do not queue
  system_call(SYS_read, signal_fd, ignored.data(), sizeof ignored);
}

signal_guard::signal_guard() noexcept {
  static_assert(sizeof(sigset_t) <= sizeof old_);
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::memcpy(old_.data(), &before, sizeof before);
}

signal_guard::~signal_guard() {
  sigset_t before;
  std::memcpy(&before, old_.data(), sizeof before);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace tandem::os
