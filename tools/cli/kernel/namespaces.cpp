#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "fences.hpp"

namespace cli::kernel {

namespace {

constexpr uid_t nobody = 65534;

int write_file(const char* path, const std::string& text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  const int result = ::write(fd, text.data(), text.size()) < 0 ? -errno : 0;
  ::close(fd);
  return result;
}

int enter_user_namespace() {
  const std::string user = std::to_string(::geteuid());
  const std::string group = std::to_string(::getegid());
  if (::unshare(CLONE_NEWUSER) != 0) return -errno;
  if (const int refused = write_file("/proc/self/uid_map", "0 " + user + " 1\n"); refused != 0) return refused;
  write_file("/proc/self/setgroups", "deny");
  return write_file("/proc/self/gid_map", "0 " + group + " 1\n");
}

int have_first_pid() {
  const pid_t child = ::fork();
  if (child < 0) return -errno;
  if (child == 0) ::_exit(::getpid() == 1 ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  return status == 0 ? 0 : -EPROTO;
}

int mount_something() {
  // First of all nothing of it may reach the mounts of others.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return -errno;
  return ::mount("tandem-doctor", "/tmp", "tmpfs", 0, nullptr) == 0 ? 0 : -errno;
}

}  // namespace

int own_namespace(space which) {
  switch (which) {
    case space::user: return enter_user_namespace();
    case space::pid: return ::unshare(CLONE_NEWPID) != 0 ? -errno : have_first_pid();
    case space::mount: return ::unshare(CLONE_NEWNS) != 0 ? -errno : mount_something();
    case space::net: return ::unshare(CLONE_NEWNET) != 0 ? -errno : 0;
  }
  return -EINVAL;
}

int through_user_namespace(space which) {
  if (const int refused = enter_user_namespace(); refused != 0) return refused;
  return own_namespace(which);
}

int as_nobody(space which) {
  if (::setgroups(0, nullptr) != 0 || ::setresgid(nobody, nobody, nobody) != 0 ||
      ::setresuid(nobody, nobody, nobody) != 0) {
    return -errno;
  }
  ::prctl(PR_SET_DUMPABLE, 1);  // who changes its user loses its own files in /proc, until it says this
  return which == space::user ? own_namespace(which) : through_user_namespace(which);
}

int killed_by_group(std::string group) {
  if (const int refused = write_file((group + "/cgroup.procs").c_str(), "0"); refused != 0) return refused;
  if (const int refused = write_file((group + "/cgroup.kill").c_str(), "1"); refused != 0) return refused;
  return -EPROTO;  // it still runs
}

}  // namespace cli::kernel
