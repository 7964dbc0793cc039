#pragma once
// Waiting a little before sleeping. A wake costs two hundred times what a look across two CPUs costs; so whoever waits for
// the other side looks for as long as a wake takes, unless the other side was last seen on the same CPU, where it cannot run
// meanwhile.
#include <cstdint>

#include "os/kernel.hpp"

namespace tandem::pools {

/// How long is worth it on this machine; 0 with one CPU. TANDEM_SPIN_US overrides.
std::uint32_t spin_nanoseconds() noexcept;

inline void rest() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// The number of the CPU from 1, 0 if that is not known.
inline std::uint32_t own_cpu() noexcept { return static_cast<std::uint32_t>(os::current_cpu() + 1); }

/// Looks until `ready()` or for that long; what ready() said last.
template <class Ready>
bool look_for(std::uint32_t nanoseconds, bool yields, Ready ready) noexcept {
  constexpr int looks_between_clock_reads = 32;
  if (nanoseconds == 0) return ready();
  const clock::time_point until = clock::now() + std::chrono::nanoseconds(nanoseconds);
  do {
    for (int i = 0; i < looks_between_clock_reads; ++i) {
      if (ready()) return true;
      rest();
    }
    if (yields) os::let_others_run();
  } while (clock::now() < until);
  return ready();
}

}  // namespace tandem::pools
