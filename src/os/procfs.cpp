#include <sched.h>
#include <signal.h>
#include <sys/single_threaded.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "os/kernel.hpp"

namespace tandem::os {

namespace {

// /proc may be that of another PID namespace, the program's: its numbers are not ours then.
bool is_foreign() {
  std::error_code failed;
  const std::string self = std::filesystem::read_symlink("/proc/self", failed).string();
  return !failed && self != std::to_string(own_pid());
}

std::string listed(pid_t pid) {
  if (pid == own_pid()) return "/proc/self";
  if (!is_foreign()) return "/proc/" + std::to_string(pid);
  const file_descriptor pidfd(pidfd_of(pid));
  return "/proc/" + std::to_string(pidfd ? pid_behind(pidfd.get()) : 0);
}

// Its numbers from the namespace of /proc inwards: the line "NSpid: 7021 14" of its status.
std::vector<pid_t> numbers_of(const std::string& process) {
  std::vector<pid_t> numbers;
  std::ifstream status("/proc/" + process + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("NSpid:", 0) != 0) continue;
    std::istringstream words(line.substr(6));
    for (pid_t number = 0; words >> number;) numbers.push_back(number);
  }
  return numbers;
}

// In our namespace; 0 if it has none there, or has ended.
pid_t number_here(pid_t number, bool foreign) {
  if (!foreign) return number;
  const std::size_t level = numbers_of("self").size();
  const std::vector<pid_t> numbers = numbers_of(std::to_string(number));
  return level == 0 || level > numbers.size() ? 0 : numbers[level - 1];
}

std::vector<pid_t> threads_of(pid_t pid) {
  std::vector<pid_t> threads;
  std::error_code failed;
  std::filesystem::directory_iterator it(listed(pid) + "/task", failed);
  for (const std::filesystem::directory_iterator end; !failed && it != end; it.increment(failed)) {
    const std::string name = it->path().filename().string();
    threads.push_back(static_cast<pid_t>(std::atoi(name.c_str())));
  }
  return threads;
}

// False for a thread that has run its last instruction: the kernel lists one for a while after it was joined.
bool is_running(pid_t thread) {
  constexpr unsigned long exiting = 0x4;  // PF_EXITING, in field 9 of proc(5)'s stat
  errno = 0;
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string stat;
  if (!std::getline(file, stat)) return errno != ENOENT && errno != ESRCH;
  std::istringstream fields(stat.substr(stat.rfind(')') + 1));  // the name before it may hold anything
  std::string skipped;
  for (int i = 3; i < 9; ++i) fields >> skipped;
  unsigned long flags = 0;
  return !(fields >> flags) || (flags & exiting) == 0;
}

// True if each of its threads has stopped, or is gone.
bool has_stopped(pid_t pid) {
  const std::vector<pid_t> threads = threads_of(pid);
  return std::none_of(threads.begin(), threads.end(), [pid](pid_t thread) {
    std::ifstream file(listed(pid) + "/task/" + std::to_string(thread) + "/stat");
    std::string stat;
    if (!std::getline(file, stat)) return false;
    const std::size_t state = stat.rfind(')') + 2;
    return state < stat.size() && std::strchr("TtZXx", stat[state]) == nullptr;
  });
}

// A fork that had begun when SIGSTOP came is finished first, and its child would be missed. One that is stuck in the
// kernel is not waited for: it makes none.
void await_stop(pid_t pid) {
  const auto patience = clock::now() + std::chrono::milliseconds(100);
  while (!has_stopped(pid) && clock::now() < patience) ::sched_yield();
}

// Of a root that has stopped.
void collect_descendants(pid_t root, std::set<pid_t>& found) {
  const std::vector<pid_t> children = children_of(root);
  for (const pid_t child : children) kill_now(child, SIGSTOP);  // so that it makes no more of them while we look
  for (const pid_t child : children) {
    if (!found.insert(child).second) continue;
    await_stop(child);
    collect_descendants(child, found);
  }
}

}  // namespace

int thread_count() {
  const std::vector<pid_t> listed = threads_of(own_pid());
  if (listed.empty()) {
    // Without /proc: unshare(2) of this grants a process of one thread what it has, and refuses it to all others.
    return __libc_single_threaded || ::unshare(CLONE_THREAD) == 0 ? 1 : 2;
  }
  int threads = 1;
  if (listed.size() > 1) threads = static_cast<int>(std::count_if(listed.begin(), listed.end(), is_running));
#if defined(__SANITIZE_THREAD__)
  return std::max(1, threads - 1);  // ThreadSanitizer's own
#else
  return threads;
#endif
}

bool is_only_thread() { return __libc_single_threaded || thread_count() == 1; }

std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> children;
  const bool foreign = is_foreign();
  for (const pid_t thread : threads_of(pid)) {
    std::ifstream list(listed(pid) + "/task/" + std::to_string(thread) + "/children");
    for (pid_t child = 0; list >> child;) {
      if (const pid_t here = number_here(child, foreign); here > 0) children.push_back(here);
    }
  }
  return children;
}

std::vector<std::string> own_arguments() {
  std::vector<std::string> arguments;
  std::ifstream file("/proc/self/cmdline");
  for (std::string one; std::getline(file, one, '\0');) arguments.push_back(one);
  return arguments;
}

pid_t pid_behind(int pidfd) {
  std::ifstream information("/proc/self/fdinfo/" + std::to_string(pidfd));
  for (std::string word; information >> word;) {
    pid_t pid = 0;
    if (word == "Pid:" && information >> pid) return std::max(0, pid);
  }
  return 0;
}

std::size_t resident_bytes(pid_t pid) {
  std::ifstream statm(listed(pid) + "/statm");
  std::size_t total = 0;
  std::size_t resident = 0;
  if (!(statm >> total >> resident)) return 0;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

std::vector<known_process> processes_below(pid_t root) noexcept {
  std::vector<known_process> found;
  try {
    for (const pid_t child : children_of(root)) {
      file_descriptor pidfd(pidfd_of(child));
      if (!pidfd) continue;
      found.push_back({child, std::move(pidfd)});
      for (known_process& below : processes_below(child)) found.push_back(std::move(below));
    }
  } catch (const std::bad_alloc&) {
  }
  return found;
}

void kill_tree(const known_process& process) noexcept {
  if (send_signal(process.pidfd.get(), SIGSTOP) < 0) return;  // it has ended: its number may be another's
  try {
    await_stop(process.pid);
    kill_descendants_of(process.pid);
  } catch (const std::bad_alloc&) {  // then its orphans end with the program
  }
  send_signal(process.pidfd.get(), SIGKILL);
}

void kill_descendants_of(pid_t root) {
  std::set<pid_t> killed;
  await_stop(root);
  // The stopped root reaps nobody, so a pid below it is never another's. One that did not stop in time may show a child
  // in a later pass.
  for (bool found_more = true; found_more;) {
    std::set<pid_t> seen;
    collect_descendants(root, seen);
    found_more = false;
    for (const pid_t pid : seen) {
      if (!killed.insert(pid).second) continue;
      found_more = true;
      kill_now(pid, SIGKILL);
    }
  }
}

void kill_all_children(std::span<const pid_t> known) noexcept {
  for (const pid_t pid : known) kill_now(pid, SIGKILL);
  for (;;) {
    std::size_t found = 0;
    try {
      for (const pid_t child : children_of(own_pid())) {
        kill_now(child, SIGKILL);
        ++found;
      }
    } catch (...) {  // no memory: go on with what ends by itself
    }
    if (found == 0 && known.empty()) {  // none, or no /proc: whoever is left is not waited for
      while (reap_any(false).pid > 0) {
      }
      return;
    }
    // One blocking wait for each round: each killed child gives one, and its orphans have come to us by then.
    if (reap_any(true).pid < 0) return;
    while (reap_any(false).pid > 0) {
    }
    known = {};
  }
}

}  // namespace tandem::os
