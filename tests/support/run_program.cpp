#include "support/run_program.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <stdexcept>
#include <system_error>
#include <utility>

extern char** environ;

namespace tandem::test {

namespace {

std::vector<char*> pointers_to(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  return arguments;
}

pid_t spawn(const std::vector<std::string>& command, int out, int err) {
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  if (err >= 0) ::posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  pid_t pid = -1;
  std::vector<char*> arguments = pointers_to(command);
  const int failed = ::posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) throw std::system_error(failed, std::generic_category(), "posix_spawn " + command[0]);
  return pid;
}

ran wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  ran result;
  if (WIFEXITED(status)) result.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  return result;
}

bool read_some(int fd, std::string& into) {
  std::array<char, 4096> buffer;
  ssize_t n = 0;
  do n = ::read(fd, buffer.data(), buffer.size());
  while (n < 0 && errno == EINTR);
  if (n > 0) into.append(buffer.data(), static_cast<std::size_t>(n));
  return n > 0;
}

}  // namespace

ran run(const std::vector<std::string>& command) {
  std::array<int, 2> out;
  std::array<int, 2> err;
  if (::pipe2(out.data(), O_CLOEXEC) != 0 || ::pipe2(err.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  const pid_t pid = spawn(command, out[1], err[1]);
  ::close(out[1]);
  ::close(err[1]);
  ran said;
  std::array<pollfd, 2> set{{{out[0], POLLIN, 0}, {err[0], POLLIN, 0}}};
  while (set[0].fd >= 0 || set[1].fd >= 0) {
    if (::poll(set.data(), set.size(), -1) < 0) continue;
    if (set[0].revents != 0 && !read_some(out[0], said.out)) set[0].fd = -1;
    if (set[1].revents != 0 && !read_some(err[0], said.err)) set[1].fd = -1;
  }
  ::close(out[0]);
  ::close(err[0]);
  const ran ended = wait_for(pid);
  said.code = ended.code;
  said.signal = ended.signal;
  return said;
}

running_program::running_program(const std::vector<std::string>& command) {
  std::array<int, 2> out;
  if (::pipe2(out.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  pid_ = spawn(command, out[1], -1);
  ::close(out[1]);
  out_ = out[0];
}

running_program::~running_program() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    wait_for(pid_);
  }
  ::close(out_);
}

std::string running_program::read_line() {
  while (buffered_.find('\n') == std::string::npos && read_some(out_, buffered_)) {
  }
  const std::size_t end = buffered_.find('\n');
  std::string line = buffered_.substr(0, end);
  buffered_.erase(0, end == std::string::npos ? end : end + 1);
  return line;
}

std::string running_program::read_rest() {
  while (read_some(out_, buffered_)) {
  }
  return std::exchange(buffered_, {});
}

ran running_program::wait() {
  const ran ended = wait_for(pid_);
  pid_ = -1;
  return ended;
}

std::string program_beside(const std::string& name) {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / name).string();
}

}  // namespace tandem::test
