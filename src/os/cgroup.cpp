#include <sys/sysinfo.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <string_view>

#include "os/kernel.hpp"

// Limits of control groups, both versions: Documentation/admin-guide/cgroup-v2.rst ("cpu.max", "memory.max"),
// Documentation/scheduler/sched-bwc.rst (cpu.cfs_quota_us) and Documentation/admin-guide/cgroup-v1/memory.rst of the Linux
// kernel.
namespace tandem::os {

namespace {

struct mount {
  std::string group_root;  // which group is mounted there
  std::string point;
  bool version_2 = false;
};

// mountinfo writes blanks and backslashes in paths as octal escapes: proc(5).
std::string unescaped(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

bool contains_word(const std::string& list, std::string_view word) {
  std::stringstream words(list);
  for (std::string one; std::getline(words, one, ',');) {
    if (one == word) return true;
  }
  return false;
}

std::vector<mount> cgroup_mounts(const std::string& proc_self, std::string_view controller) {
  std::vector<mount> mounts;
  std::ifstream file(proc_self + "/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::stringstream fields(line);
    std::string skipped, root, point, type, super;
    fields >> skipped >> skipped >> skipped >> root >> point;
    while (fields >> skipped && skipped != "-") {
    }
    fields >> type >> skipped >> super;
    const bool version_2 = type == "cgroup2";
    if (version_2 || (type == "cgroup" && contains_word(super, controller))) {
      mounts.push_back({unescaped(root), unescaped(point), version_2});
    }
  }
  return mounts;
}

std::string own_group(const std::string& proc_self, bool version_2, std::string_view controller) {
  std::ifstream file(proc_self + "/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (version_2 ? controllers.empty() : contains_word(controllers, controller)) return line.substr(second + 1);
  }
  return {};
}

// Microseconds of CPU time for each period, as a number of CPUs; infinity if there is no limit in this directory.
double quota_in(const std::string& directory, bool version_2) {
  constexpr double none = std::numeric_limits<double>::infinity();
  double quota = 0;
  double period = 0;
  if (version_2) {
    std::ifstream file(directory + "/cpu.max");
    std::string first;
    if (!(file >> first >> period) || first == "max") return none;
    std::stringstream(first) >> quota;
  } else {
    std::ifstream(directory + "/cpu.cfs_quota_us") >> quota;
    std::ifstream(directory + "/cpu.cfs_period_us") >> period;
  }
  return quota > 0 && period > 0 ? quota / period : none;
}

// What this group may still use, of its limit; what it keeps of files counts as free, since the kernel gives that up first.
std::size_t memory_left_in(const std::string& directory, bool version_2) {
  constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();
  std::size_t limit = 0;
  std::size_t used = 0;
  if (!(std::ifstream(directory + (version_2 ? "/memory.max" : "/memory.limit_in_bytes")) >> limit)) return unlimited;
  if (!(std::ifstream(directory + (version_2 ? "/memory.current" : "/memory.usage_in_bytes")) >> used)) return limit;
  std::ifstream statistics(directory + "/memory.stat");
  std::string key;
  for (std::size_t value = 0; statistics >> key >> value;) {
    if (key == (version_2 ? "inactive_file" : "total_inactive_file") ||
        key == (version_2 ? "active_file" : "total_active_file"))
      used -= std::min(used, value);
  }
  return limit - std::min(limit, used);
}

// Calls `look(directory, version_2)` for the groups of this process that have the controller, and for all above them: a
// limit there holds for us too.
template <class Look>
void each_group(const std::string& proc_self, const std::string& root, std::string_view controller, Look look) {
  for (const mount& m : cgroup_mounts(proc_self, controller)) {
    std::string group = own_group(proc_self, m.version_2, controller);
    if (m.group_root != "/" && group.starts_with(m.group_root)) group.erase(0, m.group_root.size());
    if (group == "/") group.clear();
    for (;;) {
      look(root + m.point + group, m.version_2);
      const std::size_t slash = group.rfind('/');
      if (slash == std::string::npos) break;
      group.erase(slash);
    }
  }
}

}  // namespace

std::optional<unsigned> cpu_quota(const std::string& proc_self, const std::string& root) {
  double smallest = std::numeric_limits<double>::infinity();
  each_group(proc_self, root, "cpu", [&](const std::string& directory, bool version_2) {
    smallest = std::min(smallest, quota_in(directory, version_2));
  });
  if (smallest > 1'000'000) return std::nullopt;
  const auto whole = static_cast<unsigned>(smallest);
  return std::max(1U, static_cast<double>(whole) < smallest ? whole + 1 : whole);
}

std::size_t available_memory(const std::string& proc_self, const std::string& root) {
  std::size_t least = std::numeric_limits<std::size_t>::max();
  std::ifstream file(root + "/proc/meminfo");
  std::size_t machine = 0;
  bool known = false;
  std::string key, unit;
  for (std::size_t value = 0; file >> key >> value && std::getline(file, unit);) {
    if (key != "MemAvailable:" && key != "SwapFree:") continue;
    machine += value * 1024;
    known = known || key == "MemAvailable:";
  }
  if (known) least = machine;
  struct sysinfo memory {};
  if (!known && ::sysinfo(&memory) == 0) least = (memory.totalram + memory.totalswap) * memory.mem_unit;
  each_group(proc_self, root, "memory", [&](const std::string& directory, bool version_2) {
    least = std::min(least, memory_left_in(directory, version_2));
  });
  return least;
}

}  // namespace tandem::os
