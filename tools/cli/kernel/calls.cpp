#include "calls.hpp"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <ctime>

// What Debian's headers have not had for as long as the kernel; the numbers are those of every architecture.
#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

namespace cli::kernel {

namespace {

int result_of(long call) { return call < 0 ? -errno : 0; }

int pidfd_of(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }

// A child that waits to be killed; it ends with the caller, which a filter may kill at any call.
pid_t waiting_child() {
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (::getppid() == parent) ::pause();
    ::_exit(0);
  }
  return child;
}

int end(pid_t child, int result) {
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  return result;
}

}  // namespace

int call_pidfd_open() { return result_of(pidfd_of(::getpid())); }

int call_waitid_on_pidfd() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(7);
  if (child < 0) return -errno;
  const int pidfd = pidfd_of(child);
  if (pidfd < 0) return end(child, -errno);
  siginfo_t how{};
  if (::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &how, WEXITED) != 0) return end(child, -errno);
  return how.si_pid == child && how.si_status == 7 ? 0 : -EPROTO;
}

int call_pidfd_send_signal() {
  const pid_t child = waiting_child();
  if (child < 0) return -errno;
  const int pidfd = pidfd_of(child);
  if (pidfd < 0) return end(child, -errno);
  if (::syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, nullptr, 0) != 0) return end(child, -errno);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM ? 0 : -EPROTO;
}

int call_clone3() {
  int pidfd = -1;
  clone_args arguments{};
  arguments.flags = CLONE_PIDFD;
  arguments.pidfd = reinterpret_cast<std::uintptr_t>(&pidfd);
  arguments.exit_signal = SIGCHLD;
  const long child = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (child == 0) ::syscall(SYS_exit_group, 0);
  if (child < 0) return -errno;
  ::waitpid(static_cast<pid_t>(child), nullptr, 0);
  return pidfd >= 0 ? 0 : -EPROTO;
}

int call_close_range() {
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  const auto only = static_cast<unsigned>(fd);
  if (::syscall(SYS_close_range, only, only, 0) != 0) return -errno;
  return ::fcntl(fd, F_GETFD) < 0 ? 0 : -EPROTO;
}

int call_memfd_create() { return result_of(::memfd_create("tandem-doctor", MFD_CLOEXEC)); }

int call_memfd_seals() {
  const int fd = ::memfd_create("tandem-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0 || ::ftruncate(fd, 4096) != 0 || ::fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) return -errno;
  return ::ftruncate(fd, 0) != 0 ? 0 : -EPROTO;
}

int call_memfd_hugetlb() {
  const int fd = ::memfd_create("tandem-doctor", MFD_CLOEXEC | MFD_HUGETLB);
  constexpr std::size_t bytes = std::size_t{2} << 20;
  if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(bytes)) != 0) return -errno;
  void* page = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) return -errno;
  *static_cast<volatile char*>(page) = 1;
  return 0;
}

int call_futex_waitv() {
  std::uint32_t word = 1;
  struct futex_waitv one {};
  one.val = 0;  // not what the word is: a kernel that knows the call says so at once
  one.uaddr = reinterpret_cast<std::uintptr_t>(&word);
  one.flags = FUTEX_32;
  const long result = ::syscall(SYS_futex_waitv, &one, 1, 0, nullptr, CLOCK_MONOTONIC);
  return result >= 0 || errno == EAGAIN ? 0 : -errno;
}

}  // namespace cli::kernel
