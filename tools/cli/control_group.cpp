#include "control_group.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "text_files.hpp"

namespace cli {

namespace {

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> words;
  std::stringstream rest(list);
  for (std::string one; std::getline(rest, one, ',');) words.push_back(one);
  return words;
}

struct membership {
  std::vector<std::string> controllers;  // none: version 2
  std::string group;
};

// Lines "4:memory:/group", and "0::/group" for version 2.
std::vector<membership> memberships() {
  std::vector<membership> all;
  for (const std::string& line : all_lines("/proc/self/cgroup")) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    all.push_back({split(line.substr(first + 1, second - first - 1)), line.substr(second + 1)});
  }
  return all;
}

struct mounted {
  std::string root;  // which group is mounted there
  std::string point;
  std::string type;
  std::vector<std::string> options;
};

std::vector<mounted> mounts() {
  std::vector<mounted> all;
  for (const std::string& line : all_lines("/proc/self/mountinfo")) {
    std::stringstream fields(line);
    mounted m;
    std::string skipped, options;
    fields >> skipped >> skipped >> skipped >> m.root >> m.point;
    while (fields >> skipped && skipped != "-") {
    }
    fields >> m.type >> skipped >> options;
    m.options = split(options);
    if (m.type == "cgroup" || m.type == "cgroup2") all.push_back(std::move(m));
  }
  return all;
}

bool belongs(const membership& member, const mounted& m) {
  if (member.controllers.empty()) return m.type == "cgroup2";
  return m.type == "cgroup" &&
         std::find(m.options.begin(), m.options.end(), member.controllers.front()) != m.options.end();
}

control_group placed(const membership& member, const mounted& m) {
  std::string below = member.group;
  if (m.root != "/" && below.starts_with(m.root)) below.erase(0, m.root.size());
  if (below == "/") below.clear();
  std::error_code error;
  // In a container the path may be one of the host, which cannot be seen here: then the mount is all there is.
  if (!std::filesystem::is_directory(m.point + below, error)) below.clear();
  return {member.controllers.empty() ? 2 : 1, member.controllers, m.point, m.point + below};
}

std::optional<double> quota_in(const control_group& group, const std::string& directory) {
  double quota = 0;
  double period = 0;
  if (group.version == 2) {
    std::ifstream file(directory + "/cpu.max");
    if (!(file >> quota >> period)) return std::nullopt;  // "max 100000"
  } else {
    std::ifstream(directory + "/cpu.cfs_quota_us") >> quota;
    std::ifstream(directory + "/cpu.cfs_period_us") >> period;
  }
  if (quota <= 0 || period <= 0) return std::nullopt;
  return quota / period;
}

template <class T>
void take_smaller(std::optional<T>& smallest, std::optional<T> other) {
  if (other && (!smallest || *other < *smallest)) smallest = other;
}

}  // namespace

bool control_group::has(const std::string& controller) const {
  return version == 2 || std::find(controllers.begin(), controllers.end(), controller) != controllers.end();
}

std::vector<std::string> control_group::with_those_above() const {
  std::vector<std::string> all{directory};
  while (all.back().size() > mount.size()) all.push_back(all.back().substr(0, all.back().rfind('/')));
  return all;
}

std::vector<control_group> own_control_groups() {
  std::vector<control_group> groups;
  const std::vector<mounted> there = mounts();
  for (const membership& member : memberships()) {
    const auto at = std::find_if(there.begin(), there.end(), [&](const mounted& m) { return belongs(member, m); });
    if (at != there.end()) groups.push_back(placed(member, *at));
  }
  return groups;
}

std::optional<double> cpu_quota(const std::vector<control_group>& groups) {
  std::optional<double> smallest;
  for (const control_group& group : groups) {
    if (!group.has("cpu")) continue;
    for (const std::string& directory : group.with_those_above()) take_smaller(smallest, quota_in(group, directory));
  }
  return smallest;
}

std::optional<std::uint64_t> memory_limit(const std::vector<control_group>& groups) {
  constexpr std::uint64_t none = std::uint64_t{1} << 60;  // version 1 writes the largest number of pages
  std::optional<std::uint64_t> smallest;
  for (const control_group& group : groups) {
    if (!group.has("memory")) continue;
    const char* file = group.version == 2 ? "/memory.max" : "/memory.limit_in_bytes";
    for (const std::string& directory : group.with_those_above()) take_smaller(smallest, number_in(directory + file));
  }
  return smallest && *smallest < none ? smallest : std::nullopt;
}

}  // namespace cli
