#include "raw.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

namespace cli::kernel {

namespace {

void await(pid_t child) {
  int status = 0;
  if (::waitpid(child, &status, 0) != child || status != 0) {
    throw std::system_error(ECHILD, std::generic_category(), "waitpid");
  }
}

}  // namespace

void fork_and_wait() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
  await(child);
}

void spawn_and_wait(const char* program) {
  char* const arguments[] = {const_cast<char*>(program), nullptr};
  pid_t child = -1;
  if (const int error = ::posix_spawn(&child, program, nullptr, nullptr, arguments, environ); error != 0) {
    throw std::system_error(error, std::generic_category(), std::string("posix_spawn ") + program);
  }
  await(child);
}

}  // namespace cli::kernel
