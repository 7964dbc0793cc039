// Runs a program as on a kernel that lacks a system call, or under a seccomp filter that denies it:
//
//   without_call CALL ENOSYS|EPERM|EINVAL USER PROGRAM [ARGUMENT...]
//
// USER: "nobody", who owns nothing, or "self". The filter is there before the first instruction of the program.
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

extern char** environ;

namespace {

struct hidden_call {
  unsigned number = 0;
  unsigned first_argument = any;
  static constexpr unsigned any = ~0U;
};

const std::map<std::string, hidden_call> calls = {
    {"pidfd_open", {SYS_pidfd_open}},
    {"pidfd_send_signal", {SYS_pidfd_send_signal}},
    {"waitid_of_a_pidfd", {SYS_waitid, P_PIDFD}},
    {"clone3", {SYS_clone3}},
    {"close_range", {SYS_close_range}},
    {"futex_waitv", {SYS_futex_waitv}},
    {"memfd_create", {SYS_memfd_create}},
};
const std::map<std::string, unsigned> errors = {{"ENOSYS", ENOSYS}, {"EPERM", EPERM}, {"EINVAL", EINVAL}};

#if defined(__x86_64__)
constexpr unsigned architecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr unsigned architecture = AUDIT_ARCH_AARCH64;
#else
#error "name the architecture"
#endif

bool hide(const hidden_call& call, unsigned error) {
  const auto load = [](std::size_t offset) {
    return sock_filter(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<unsigned>(offset)));
  };
  const auto unless_equal = [](unsigned value, unsigned char skipped) {
    return sock_filter(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skipped));
  };
  const auto finish = [](unsigned verdict) { return sock_filter(BPF_STMT(BPF_RET | BPF_K, verdict)); };
  std::vector<sock_filter> program = {load(offsetof(seccomp_data, arch)), unless_equal(architecture, 3),
                                      load(offsetof(seccomp_data, nr)),   unless_equal(call.number, 1),
                                      finish(SECCOMP_RET_ERRNO | error),  finish(SECCOMP_RET_ALLOW)};
  if (call.first_argument != hidden_call::any) {  // its low half, on machines that count from there
    program = {load(offsetof(seccomp_data, arch)), unless_equal(architecture, 5),
               load(offsetof(seccomp_data, nr)),   unless_equal(call.number, 3),
               load(offsetof(seccomp_data, args)), unless_equal(call.first_argument, 1),
               finish(SECCOMP_RET_ERRNO | error),  finish(SECCOMP_RET_ALLOW)};
  }
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

bool become_nobody() {
  constexpr unsigned nobody = 65534;
  return ::setgroups(0, nullptr) == 0 && ::setresgid(nobody, nobody, nobody) == 0 &&
         ::setresuid(nobody, nobody, nobody) == 0;
}

int fail(const char* what) {
  std::fprintf(stderr, "without_call: %s: %s\n", what, std::strerror(errno));
  return 125;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5 || !calls.contains(argv[1]) || !errors.contains(argv[2])) {
    std::fputs("usage: without_call CALL ENOSYS|EPERM|EINVAL nobody|self PROGRAM [ARGUMENT...]\n", stderr);
    return 125;
  }
  // Opened first: nobody may not be allowed to walk to it.
  const int program = ::open(argv[4], O_PATH | O_CLOEXEC);
  if (program < 0) return fail(argv[4]);
  if (std::strcmp(argv[3], "nobody") == 0 && !become_nobody()) return fail("setresuid");
  if (!hide(calls.at(argv[1]), errors.at(argv[2]))) return fail("seccomp");
  ::syscall(SYS_execveat, program, "", argv + 4, environ, AT_EMPTY_PATH);
  return fail("execveat");
}
