#include "child.hpp"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <new>

namespace cli::kernel {

namespace {

constexpr unsigned most_seconds = 5;

void run(const probe& what, int& result) noexcept {
  std::signal(SIGALRM, SIG_DFL);
  ::alarm(most_seconds);
  try {
    result = what();
  } catch (...) {
    result = -ENOMEM;
  }
}

}  // namespace

std::string tried::why() const {
  if (signal != 0) {
    const char* name = ::sigabbrev_np(signal);
    return name != nullptr ? std::string("SIG") + name : "signal " + std::to_string(signal);
  }
  const char* name = ::strerrorname_np(error);
  return (untried ? "not tried: " : "") + (name != nullptr ? std::string(name) : "error " + std::to_string(error));
}

tried in_child(const probe& what) noexcept {
  tried done;
  void* page = ::mmap(nullptr, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {
    done.error = errno;
    done.untried = true;
    return done;
  }
  int& result = *new (page) int(-ECHILD);
  const pid_t child = ::fork();
  if (child == 0) {
    run(what, result);
    ::_exit(0);
  }
  int status = 0;
  if (child < 0) {
    done.error = errno;
    done.untried = true;
  } else {
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status)) done.signal = WTERMSIG(status);
    if (result < 0) done.error = -result;
    if (result >= 0) done.value = result;
  }
  ::munmap(page, sizeof(int));
  return done;
}

}  // namespace cli::kernel
