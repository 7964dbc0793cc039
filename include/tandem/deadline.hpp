#pragma once
// Time in the public interface: one clock, one unit, and sums that saturate instead of wrapping.
#include <chrono>

namespace tandem {

using nanoseconds = std::chrono::nanoseconds;
using clock = std::chrono::steady_clock;

/// The moment `timeout` from now; a timeout too large for the clock gives its last moment, a negative one gives now.
/// Blocks: never. Cost: one clock read.
inline clock::time_point deadline_after(nanoseconds timeout) noexcept {
  const clock::time_point now = clock::now();
  if (timeout <= nanoseconds::zero()) return now;
  return timeout >= clock::time_point::max() - now ? clock::time_point::max() : now + timeout;
}

}  // namespace tandem
