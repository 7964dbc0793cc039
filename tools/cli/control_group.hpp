#pragma once
// The control groups of this process, both versions: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/ of Linux.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cli {

struct control_group {
  int version = 2;
  std::vector<std::string> controllers = {};
  std::string mount = {};      // the directory of the topmost group that can be seen
  std::string directory = {};  // of this process's own; below `mount`, or the same
  bool has(const std::string& controller) const;
  /// The own directory, then each above it up to the mount: a limit of any of them holds.
  std::vector<std::string> with_those_above() const;
};

/// One for each hierarchy that is mounted; empty without /proc, or where none is.
std::vector<control_group> own_control_groups();

std::optional<double> cpu_quota(const std::vector<control_group>&);  // in CPUs
std::optional<std::uint64_t> memory_limit(const std::vector<control_group>&);

}  // namespace cli
