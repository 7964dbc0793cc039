#include "child.hpp"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <new>
#include <string_view>

namespace cli::kernel {

namespace {

constexpr unsigned most_seconds = 5;

struct notes {
  int result = -ECHILD;
  char said[512] = {};
};

void run(const probe& what, notes& left) noexcept {
  std::signal(SIGALRM, SIG_DFL);
  ::alarm(most_seconds);
  try {
    left.result = what();
  } catch (const std::exception& e) {
    left.result = -ECANCELED;
    std::string_view(e.what()).copy(left.said, sizeof left.said - 1);
  } catch (...) {
    left.result = -ECANCELED;
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

tried in_child(const probe& what) {
  tried done;
  void* page = ::mmap(nullptr, sizeof(notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {
    done.error = errno;
    done.untried = true;
    return done;
  }
  notes& left = *new (page) notes;
  const pid_t child = ::fork();
  if (child == 0) {
    run(what, left);
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
    if (left.result < 0) done.error = -left.result;
    if (left.result >= 0) done.value = left.result;
    done.said = left.said;
  }
  ::munmap(page, sizeof(notes));
  return done;
}

}  // namespace cli::kernel
