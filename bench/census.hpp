#pragma once
// What a process and those below it hold, as /proc tells.
#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <unistd.h>

namespace bench {

inline std::size_t entries(const std::string& directory) {
  std::error_code gone;
  std::size_t count = 0;
  for (std::filesystem::directory_iterator at(directory, gone), end; !gone && at != end; at.increment(gone)) ++count;
  return count;
}

/// The children of each process are read from all its threads.
inline std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> children;
  std::error_code gone;
  const std::string tasks = "/proc/" + std::to_string(parent) + "/task";
  for (std::filesystem::directory_iterator at(tasks, gone), end; !gone && at != end; at.increment(gone)) {
    std::ifstream list(at->path() / "children");
    for (pid_t child = 0; list >> child;) children.push_back(child);
  }
  return children;
}

inline std::vector<pid_t> descendants_of(pid_t root) {
  std::vector<pid_t> all = children_of(root);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::vector<pid_t> below = children_of(all[i]);
    all.insert(all.end(), below.begin(), below.end());
  }
  return all;
}

struct holdings {
  std::size_t descriptors = 0;
  std::size_t threads = 0;
  std::size_t children = 0;
  double resident_mib = 0;
};

inline holdings holdings_of(pid_t pid) {
  const std::string proc = "/proc/" + std::to_string(pid);
  holdings h;
  h.descriptors = entries(proc + "/fd") - (pid == ::getpid() ? 1 : 0);  // the one that counts
  h.threads = entries(proc + "/task");
  h.children = children_of(pid).size();
  std::ifstream statm(proc + "/statm");
  double size = 0;
  double resident = 0;
  statm >> size >> resident;
  h.resident_mib = resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
  return h;
}

}  // namespace bench
