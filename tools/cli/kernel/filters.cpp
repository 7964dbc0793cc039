#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>

#include "fences.hpp"

// Debian's headers know fewer system calls than its kernels; the numbers are those of every architecture.
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self 446
#endif

namespace cli::kernel {

namespace {

constexpr int chosen_error = EUCLEAN;  // one that getppid never gives
volatile std::sig_atomic_t trapped = 0;

// A filter that does `action` at getppid, which nothing else here calls. What seccomp gives, or minus an errno.
long install(std::uint32_t action, unsigned flags) {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -errno;
  std::array<sock_filter, 4> steps{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, action),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program{steps.size(), steps.data()};
  const long result = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
  return result < 0 ? -errno : result;
}

}  // namespace

int filter_refuses() {
  const long installed = install(SECCOMP_RET_ERRNO | chosen_error, 0);
  if (installed < 0) return static_cast<int>(installed);
  return ::syscall(SYS_getppid) < 0 && errno == chosen_error ? 0 : -EPROTO;
}

int filter_traps() {
  if (std::signal(SIGSYS, [](int) { trapped = 1; }) == SIG_ERR) return -errno;
  const long installed = install(SECCOMP_RET_TRAP, 0);
  if (installed < 0) return static_cast<int>(installed);
  ::syscall(SYS_getppid);
  return trapped == 1 ? 0 : -EPROTO;
}

int filter_notifies() {
  const long listener = install(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
  return listener < 0 ? static_cast<int>(listener) : 0;
}

int landlock_refuses() {
  constexpr unsigned ask_version = 1;
  const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, ask_version);
  if (version < 0) return -errno;
  const std::uint64_t listing_folders = 1U << 3;  // the first version's attribute: handled_access_fs
  const long rules = ::syscall(SYS_landlock_create_ruleset, &listing_folders, sizeof listing_folders, 0);
  if (rules < 0 || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -errno;
  if (::syscall(SYS_landlock_restrict_self, rules, 0) != 0) return -errno;
  return ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) < 0 && errno == EACCES ? static_cast<int>(version) : -EPROTO;
}

}  // namespace cli::kernel
