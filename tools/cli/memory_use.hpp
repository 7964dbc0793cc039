#pragma once
// What processes hold of memory, as /proc says.
#include <sys/types.h>

#include <optional>
#include <vector>

namespace cli {

/// In KiB.
struct memory_use {
  double rss = 0;                  // what it can reach without a fault
  std::optional<double> pss = {};  // each page divided by those who share it; older kernels do not tell
  std::optional<double> own = {};  // what nobody else has
};

memory_use operator+(const memory_use&, const memory_use&);
memory_use operator-(const memory_use&, const memory_use&);

/// Errors: std::runtime_error if /proc does not tell.
memory_use memory_of(pid_t);

/// Empty if the kernel does not tell.
std::vector<pid_t> children_of(pid_t);

}  // namespace cli
