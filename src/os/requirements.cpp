// What this kernel must have, and how its lack is told. A call is missing where the kernel is older than it (ENOSYS), or
// where a seccomp filter denies what it does not know: ENOSYS from newer container runtimes, EPERM from older ones.
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include <tandem/error.hpp>

#include "os/kernel.hpp"

namespace tandem::os {

namespace {

struct needed_call {
  std::string_view operation;  // as throw_failed() is told
  const char* name;
  const char* since;
  const char* advice;
};

constexpr const char* newer = "tandem needs Linux 5.4 or newer, and no seccomp filter that denies this call";

// Of all of them EPERM means a filter: none gives it otherwise, as tandem calls it.
constexpr needed_call needed[] = {
    {"pidfd_open", "pidfd_open", "5.3", newer},
    {"pidfd_send_signal", "pidfd_send_signal", "5.1", newer},
    {"waitid", "waitid of a pidfd", "5.4", newer},
    {"memfd_create", "memfd_create", "3.17", newer},
    {"pthread_create", "clone3", "5.3",
     "glibc starts threads without it, but only where a seccomp filter answers it with ENOSYS, and not with EPERM"},
};

[[noreturn]] void throw_missing(const needed_call& call, int error) {
  utsname system{};
  const std::string release = ::uname(&system) == 0 ? std::string(" ") + system.release : std::string();
  throw unsupported(std::string("tandem: the system call ") + call.name + ", which Linux has since " + call.since +
                    ", cannot be used here (" + std::generic_category().message(error) + "; this is Linux" + release +
                    "); " + call.advice + ". In a container, update its runtime, or allow the call in its profile.");
}

}  // namespace

void throw_if_missing(std::string_view operation, int error) {
  if (error != ENOSYS && error != EPERM) return;
  const auto* call = std::find_if(std::begin(needed), std::end(needed),
                                  [&](const needed_call& c) { return c.operation == operation; });
  if (call != std::end(needed)) throw_missing(*call, error);
}

void require_kernel() {
  const file_descriptor self(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (!self) return throw_if_missing("pidfd_open", errno);  // no descriptor is free: the first real call says so
  if (::syscall(SYS_pidfd_send_signal, self.get(), 0, nullptr, 0) != 0) throw_if_missing("pidfd_send_signal", errno);
  // We are no child of ours: ECHILD. EINVAL: the kernel knows no pidfds here.
  siginfo_t none{};
  if (::syscall(SYS_waitid, P_PIDFD, self.get(), &none, WEXITED | WNOHANG, nullptr) != 0 && errno != ECHILD) {
    throw_if_missing("waitid", errno == EINVAL ? ENOSYS : errno);
  }
}

}  // namespace tandem::os
