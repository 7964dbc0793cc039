#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include <tandem/error.hpp>

#include "os/faults.hpp"
#include "os/kernel.hpp"
#include "os/system_call.hpp"

namespace tandem::os {

void throw_failed(const char* operation, int error, const std::string& advice) {
  throw_if_missing(operation, error);
  if (error == ETOOMANYREFS && advice.empty())
    throw_failed(
        operation, error,
        "this user has as many descriptors on their way through sockets as `ulimit -n` allows: receive some of "
        "them, or raise the limit");
  throw resource_exhausted(operation, std::error_code(error, std::generic_category()), advice);
}

long check(long result, const char* operation) {
  if (result < 0) throw_failed(operation, static_cast<int>(-result));
  return result;
}

pid_t own_pid() noexcept { return ::getpid(); }
uid_t own_user() noexcept { return ::getuid(); }
pid_t parent_pid() noexcept { return static_cast<pid_t>(system_call(SYS_getppid)); }
pid_t own_tid() noexcept { return static_cast<pid_t>(::syscall(SYS_gettid)); }

pid_t fork_process() noexcept {
  if (const int e = injected()) return -e;
  const pid_t pid = ::fork();
  return pid < 0 ? -errno : pid;
}

namespace {

// The word in which glibc keeps this thread's id, or nullptr where it cannot be found. It stands 16 bytes before the
// robust list head in struct pthread (glibc 2.36, nptl/descr.h); a wrong guess is noticed, since the word must hold our
// tid.
pid_t* thread_id_word(void** robust_head, std::size_t* robust_size) noexcept {
  if (::syscall(SYS_get_robust_list, 0, robust_head, robust_size) != 0 || *robust_head == nullptr) return nullptr;
  auto* word = reinterpret_cast<pid_t*>(static_cast<std::byte*>(*robust_head) - 16);
  return *word == own_tid() ? word : nullptr;
}

}  // namespace

namespace {

// fork() with other flags, as far as the C library's own state goes: one thread, whose id is put right in the child.
// ENOTSUP if that cannot be done.
long fork_raw(std::uint64_t flags, int exit_signal, int* pidfd) noexcept {
  void* robust_head = nullptr;
  std::size_t robust_size = 0;
  pid_t* tid = thread_id_word(&robust_head, &robust_size);
  if (tid == nullptr) return -ENOTSUP;
  const signal_guard guard;
  clone_args arguments{};
  arguments.flags = flags | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
  arguments.pidfd = reinterpret_cast<std::uintptr_t>(pidfd);
  arguments.child_tid = reinterpret_cast<std::uintptr_t>(tid);
  arguments.exit_signal = static_cast<std::uint64_t>(exit_signal);
  const long pid = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid == 0) {
    ::syscall(SYS_set_robust_list, robust_head, robust_size);  // the kernel forgets it at fork; fork() would do this
    return 0;
  }
  return pid < 0 ? -errno : pid;
}

bool write_map(const char* file, const std::string& text) noexcept {
  const int fd = ::open(file, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  return written;
}

}  // namespace

pid_t fork_unseen(file_descriptor& pidfd) noexcept {
  if (const int e = injected()) return -e;
  int fd = -1;
  // Exit signal 0: neither SIGCHLD nor waitpid(-1) of the user's code has to do with it.
  const long pid = fork_raw(CLONE_PIDFD, 0, &fd);
  if (pid == 0) return 0;
  if (pid > 0) {
    pidfd = file_descriptor(clear_of_standard(fd));
    if (pidfd) return static_cast<pid_t>(pid);
    const int error = errno;
    kill_now(static_cast<pid_t>(pid), SIGKILL);
    ::waitpid(static_cast<pid_t>(pid), nullptr, __WALL);
    return -error;
  }
  // ENOSYS, EPERM: an old kernel, or a seccomp filter.
  if (pid != -ENOSYS && pid != -EPERM && pid != -ENOTSUP) return static_cast<pid_t>(pid);
  return fork_with_threads(pidfd);
}

pid_t fork_into_namespace() noexcept {
  if (const int e = injected()) return -e;
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  long pid = fork_raw(CLONE_NEWPID, SIGCHLD, nullptr);
  if (pid != -EPERM) return static_cast<pid_t>(pid);
  pid = fork_raw(CLONE_NEWPID | CLONE_NEWUSER, SIGCHLD, nullptr);
  if (pid != 0) return static_cast<pid_t>(pid);
  // Without privileges a user namespace comes first; in it this user has the same number as outside.
  try {
    const std::string one = " 1";
    if (!write_map("/proc/self/setgroups", "deny") ||
        !write_map("/proc/self/uid_map", std::to_string(user) + " " + std::to_string(user) + one) ||
        !write_map("/proc/self/gid_map", std::to_string(group) + " " + std::to_string(group) + one)) {
      exit_now(1);
    }
  } catch (...) {
    exit_now(1);
  }
  return 0;
}

pid_t fork_with_threads(file_descriptor& pidfd) noexcept {
  if (const int e = injected()) return -e;
  // Where SIGCHLD is ignored, the kernel forgets a child as soon as it ends: this one waits until it is held.
  std::array<file_descriptor, 2> held;
  if (const int failed = pipe_pair(held); failed < 0) return failed;
  std::array<std::byte, 1> word{};
  const pid_t pid = ::fork();
  if (pid < 0) return -errno;
  if (pid == 0) {
    held[1] = {};
    read_some(held[0].get(), word);  // or the end, if the parent has died
    return 0;
  }
  const int fd = pidfd_of(pid);
  if (fd < 0) {
    kill_now(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return fd;
  }
  pidfd = file_descriptor(fd);
  write_some(held[1].get(), word);
  return pid;
}

int pidfd_of(pid_t pid) noexcept {
  if (const int e = injected()) return -e;
  const int fd = clear_of_standard(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  return fd < 0 ? -errno : fd;
}

int send_signal(int pidfd, int signal) noexcept {
  return ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) == 0 ? 0 : -errno;
}

void kill_now(pid_t pid, int signal) noexcept { ::kill(pid, signal); }

namespace {

void take_usage(const rusage& usage, ended_child& child) noexcept {
  const auto ns = [](const timeval& t) {
    return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_usec * 1'000;
  };
  child.cpu_ns = ns(usage.ru_utime) + ns(usage.ru_stime);
  child.peak_bytes = static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace

ended_child reap_any(bool blocking) noexcept {
  ended_child child;
  rusage usage{};
  int status = 0;
  do child.pid = static_cast<pid_t>(system_call(SYS_wait4, -1, &status, blocking ? 0 : WNOHANG, &usage));
  while (child.pid == -EINTR);
  child.value = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  take_usage(usage, child);
  return child;
}

ended_child reap(int pidfd) noexcept {
  ended_child child;
  siginfo_t how{};
  rusage usage{};
  long result = 0;
  do result = ::syscall(SYS_waitid, P_PIDFD, pidfd, &how, WEXITED | __WALL, &usage);
  while (result < 0 && errno == EINTR);
  child.pid = result < 0 ? -errno : how.si_pid;
  child.value = how.si_code == CLD_EXITED ? how.si_status : -how.si_status;
  take_usage(usage, child);
  return child;
}

int start_thread(void* (*body)(void*), void* argument, pthread_t& made) noexcept {
  if (const int e = injected()) return -e;
  return -::pthread_create(&made, nullptr, body, argument);
}

int make_thread_key(pthread_key_t& made, void (*at_end)(void*)) noexcept {
  if (const int e = injected()) return -e;
  return -::pthread_key_create(&made, at_end);
}

void set_thread_key(pthread_key_t key, const void* value) noexcept { ::pthread_setspecific(key, value); }

int call_in_children(void (*function)()) noexcept {
  if (const int e = injected()) return -e;
  return -::pthread_atfork(nullptr, nullptr, function);
}

void leave_thread(pthread_t thread) noexcept { ::pthread_detach(thread); }

bool join_thread(pthread_t thread, clock::time_point deadline) noexcept {
  if (deadline == never) return ::pthread_join(thread, nullptr) == 0;
  const auto since = std::max(nanoseconds::zero(), nanoseconds(deadline.time_since_epoch())).count();
  const timespec until{static_cast<time_t>(since / 1'000'000'000), static_cast<long>(since % 1'000'000'000)};
  return ::pthread_clockjoin_np(thread, nullptr, CLOCK_MONOTONIC, &until) == 0;
}

// SAFETY: the kernel puts the path there, for as long as the process lives.
const char* own_file() noexcept { return reinterpret_cast<const char*>(::getauxval(AT_EXECFN)); }

namespace {

int exec_own_file(char* const arguments[]) noexcept {
  ::execve("/proc/self/exe", arguments, environ);
  if (errno != ENOENT) return -errno;
  // No /proc: the path may be another program by now, which the build-id then tells.
  ::execve(own_file(), arguments, environ);
  return -errno;
}

}  // namespace

int exec_self() noexcept {
  if (const int e = injected()) return -e;
  try {
    std::vector<std::string> texts = own_arguments();
    if (texts.empty()) texts.emplace_back(::program_invocation_name);
    std::vector<char*> arguments;
    arguments.reserve(texts.size() + 1);
    for (std::string& text : texts) arguments.push_back(text.data());
    arguments.push_back(nullptr);
    return exec_own_file(arguments.data());
  } catch (...) {
    return -ENOMEM;
  }
}

int set_variable(const char* name, const char* value) noexcept {
  if (const int e = injected()) return -e;
  return ::setenv(name, value, 1) == 0 ? 0 : -errno;
}

void unset_variable(const char* name) noexcept { ::unsetenv(name); }

const char* variable(const char* name) noexcept { return ::secure_getenv(name); }

int change_directory(const char* path) noexcept {
  if (const int e = injected()) return -e;
  return ::chdir(path) == 0 ? 0 : -errno;
}

void exit_now(int code) noexcept {
  for (;;) system_call(SYS_exit_group, code);
}

void name_thread(const char* name) noexcept { system_call(SYS_prctl, PR_SET_NAME, name); }

int adopt_orphans() noexcept { return static_cast<int>(system_call(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1)); }

int die_with_parent() noexcept { return static_cast<int>(system_call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL)); }

int lead_group() noexcept { return static_cast<int>(system_call(SYS_setpgid, 0, 0)); }

unsigned current_cpu() noexcept {
  const int cpu = ::sched_getcpu();
  return cpu < 0 ? 0 : static_cast<unsigned>(cpu);
}

void let_others_run() noexcept { ::sched_yield(); }

int allowed_cpus() noexcept {
  for (std::size_t cpus = 1024; cpus <= 1U << 20; cpus *= 2) {
    cpu_set_t* set = CPU_ALLOC(cpus);
    if (set == nullptr) return -ENOMEM;
    const std::size_t bytes = CPU_ALLOC_SIZE(cpus);
    const int result = ::sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : -errno;
    CPU_FREE(set);
    if (result != -EINVAL) return result;
  }
  return -EINVAL;
}

}  // namespace tandem::os
