#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "os/faults.hpp"
#include "os/kernel.hpp"

namespace tandem::os {

void block_signals() noexcept {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

void unblock_signals() noexcept {
  sigset_t none;
  ::sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
}

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
  std::array<signalfd_siginfo, 4> ignored;
  while (::read(signal_fd, ignored.data(), sizeof ignored) > 0) {
  }
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
