#pragma once
// What `tandem compare creation` measures.
#include <cstddef>
#include <span>

namespace cli {

enum class where {
  plain_copy,  // a copy of this program that tandem is not in
  here
};

struct contestant {
  const char* name;
  const char* raw;  // what it is compared with; nullptr: with nothing
  where runs;
  void (*once)();  // one start, and the wait for its end
};

/// One that others are compared with stands before them.
std::span<const contestant> contestants() noexcept;

/// The median of up to `runs` runs, in microseconds, after one that is not counted. Fewer, but three at least, where they
/// take long. Errors: what a run throws.
double median_of_runs(const contestant&, int runs);
double median(std::span<const double>);

}  // namespace cli
