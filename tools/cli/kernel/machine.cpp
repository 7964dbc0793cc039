#include "machine.hpp"

#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace cli::kernel {

limit limit_of(resource which) noexcept {
  const auto of = [](auto number) {
    rlimit raw{};
    limit l;
    if (::getrlimit(number, &raw) != 0) return l;
    if (raw.rlim_cur != RLIM_INFINITY) l.soft = raw.rlim_cur;
    if (raw.rlim_max != RLIM_INFINITY) l.hard = raw.rlim_max;
    return l;
  };
  switch (which) {
    case resource::descriptors: return of(RLIMIT_NOFILE);
    case resource::processes: return of(RLIMIT_NPROC);
    case resource::address_space: return of(RLIMIT_AS);
    case resource::locked_memory: return of(RLIMIT_MEMLOCK);
    case resource::core_file: return of(RLIMIT_CORE);
  }
  return {};
}

std::string release() {
  utsname names{};
  return ::uname(&names) == 0 ? names.release : "unknown";
}

unsigned user() noexcept { return ::geteuid(); }

unsigned online_cpus() noexcept {
  const long count = ::sysconf(_SC_NPROCESSORS_ONLN);
  return count > 0 ? static_cast<unsigned>(count) : 1;
}

bool errors_go_to_a_terminal() noexcept { return ::isatty(STDERR_FILENO) == 1; }

}  // namespace cli::kernel
