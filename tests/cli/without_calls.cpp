// Runs a program where some system calls are missing, as on an older kernel or under a strict filter.
//
//   without_calls name[,name...] program [argument...]
//
// Each gives ENOSYS; one that is written "!name" kills its caller.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace {

const std::map<std::string, long> numbers = {
    {"pidfd_open", SYS_pidfd_open},
    {"pidfd_send_signal", SYS_pidfd_send_signal},
    {"clone3", SYS_clone3},
    {"close_range", SYS_close_range},
    {"memfd_create", SYS_memfd_create},
    {"futex_waitv", 449},
    {"unshare", SYS_unshare},
    {"landlock_create_ruleset", 444},
    {"seccomp", SYS_seccomp},
};

void add(std::vector<sock_filter>& steps, const std::string& call) {
  const bool kills = call.starts_with("!");
  const auto number = static_cast<unsigned>(numbers.at(call.substr(kills ? 1 : 0)));
  steps.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
  steps.push_back(BPF_STMT(BPF_RET | BPF_K, kills ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | ENOSYS));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  std::vector<sock_filter> steps{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  std::stringstream calls(argv[1]);
  for (std::string call; std::getline(calls, call, ',');) add(steps, call);
  steps.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog program{static_cast<unsigned short>(steps.size()), steps.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    std::perror("without_calls");
    return 2;
  }
  ::execv(argv[2], argv + 2);
  std::perror(argv[2]);
  return 2;
}
