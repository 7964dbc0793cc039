#include "support/leaks.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "os/kernel.hpp"

namespace tandem::test {

namespace {

namespace fs = std::filesystem;

std::map<std::string, int> descriptors_of(pid_t pid) {
  std::map<std::string, int> found;
  std::error_code failed;
  fs::directory_iterator it("/proc/" + std::to_string(pid) + "/fd", failed);
  for (const fs::directory_iterator end; !failed && it != end; it.increment(failed)) {
    std::error_code gone;
    std::string target = fs::read_symlink(it->path(), gone).string();
    if (gone || target.find("/fd") != std::string::npos) continue;  // the directory that is being read
    // A socket or pipe is known by its kind: its number says nothing.
    target.erase(std::find(target.begin(), target.end(), '['), target.end());
    ++found[target];
  }
  return found;
}

int memory_maps() {
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);) count += line.find("/memfd:") != std::string::npos ? 1 : 0;
  return count;
}

void compare(const std::string& what, const std::map<std::string, int>& before, const std::map<std::string, int>& after,
             std::vector<std::string>& leaks) {
  for (const auto& [target, count] : after) {
    const auto found = before.find(target);
    const int old = found == before.end() ? 0 : found->second;
    if (count > old)
      leaks.push_back(what + " " + target + ": " + std::to_string(old) + " before, " + std::to_string(count) +
                      " after");
  }
}

std::vector<std::string> differences(const stock& before, const stock& after) {
  std::vector<std::string> leaks;
  compare("descriptor", before.descriptors, after.descriptors, leaks);
  compare("descriptor of the servers", before.descendant_descriptors, after.descendant_descriptors, leaks);
  const auto count = [&](const char* what, auto old, auto now) {
    if (now > old)
      leaks.push_back(std::string(what) + ": " + std::to_string(old) + " before, " + std::to_string(now) + " after");
  };
  count("threads", before.threads, after.threads);
  count("maps of shared memory", before.memory_maps, after.memory_maps);
  count("files in /dev/shm", before.shared_files.size(), after.shared_files.size());
  count("processes", before.descendants, after.descendants);
  return leaks;
}

}  // namespace

std::vector<pid_t> descendants_of(pid_t root) {
  std::vector<pid_t> found;
  for (const pid_t child : os::children_of(root)) {
    found.push_back(child);
    for (const pid_t below : descendants_of(child)) found.push_back(below);
  }
  return found;
}

std::size_t descriptor_count(pid_t pid) {
  std::size_t count = 0;
  for (const auto& [target, n] : descriptors_of(pid)) count += static_cast<std::size_t>(n);
  return count;
}

// What stands after the name in /proc/pid/stat: the state first; nothing if there is no such process.
static std::string status_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text, '\0');
  const std::size_t end = text.rfind(") ");
  return end != std::string::npos ? text.substr(end + 2) : std::string();
}

static pid_t parent_of(pid_t pid) {
  std::istringstream text(status_of(pid));
  char state = 0;
  pid_t parent = 0;
  text >> state >> parent;
  return parent;
}

pid_t fork_server_of(pid_t worker) {
  const pid_t server = parent_of(worker);
  return server > 1 && parent_of(parent_of(server)) == os::own_pid() ? server : 0;
}

bool is_zombie(pid_t pid) { return status_of(pid).substr(0, 1) == "Z"; }

bool exists(pid_t pid) { return fs::exists("/proc/" + std::to_string(pid)) && !is_zombie(pid); }

bool sleeps_at_futex(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/wchan");
  std::string where;
  std::getline(file, where);
  return where.find("futex") != std::string::npos;
}

bool eventually(const std::function<bool()>& condition, int seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

stock take_stock() {
  stock s;
  s.descriptors = descriptors_of(os::own_pid());
  s.threads = os::thread_count();
  s.memory_maps = memory_maps();
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator("/dev/shm", failed)) s.shared_files.push_back(entry.path());
  const std::vector<pid_t> below = descendants_of(os::own_pid());
  s.descendants = below.size();
  for (const pid_t pid : below) {
    for (const auto& [target, count] : descriptors_of(pid)) s.descendant_descriptors[target] += count;
  }
  return s;
}

std::vector<std::string> leaks_since(const stock& before) {
  std::vector<std::string> leaks;
  eventually([&] { return (leaks = differences(before, take_stock())).empty(); });
  if (!leaks.empty()) {
    for (const pid_t pid : descendants_of(os::own_pid())) {
      std::ifstream comm("/proc/" + std::to_string(pid) + "/comm");
      std::string name;
      std::getline(comm, name);
      leaks.push_back("a process that runs: " + std::to_string(pid) + " " + name + (is_zombie(pid) ? " (zombie)" : ""));
    }
  }
  return leaks;
}

}  // namespace tandem::test
