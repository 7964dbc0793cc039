#pragma once
// Waiting a little before sleeping. A wake costs two hundred times what a look across two CPUs costs.
#include <atomic>
#include <cstdint>

#include <tandem/deadline.hpp>

#include "os/kernel.hpp"
#include "sync/session.hpp"

namespace tandem::pools {

inline void pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Among the threads of one process. True as soon as `done()` is; false after the bound.
template <class Done>
bool spin(Done done, [[maybe_unused]] clock::time_point deadline) {
  for (unsigned turns = sync::spin_turns(); turns > 0; --turns) {
    if (done()) return true;
    pause();
  }
  return done();
}

/// For how long it is worth looking at what another process writes: as long as a wake takes; 0 with one CPU.
inline std::uint32_t spin_nanoseconds() noexcept {
  if (os::allowed_cpus() == 1) return 0;
  return static_cast<std::uint32_t>(nanoseconds(sync::spin_time_of_a_wake()).count());
}

/// The number of the CPU from 1, 0 if that is not known. Where the other side was last seen on the same one it cannot run
/// meanwhile.
inline std::uint32_t own_cpu() noexcept { return static_cast<std::uint32_t>(os::current_cpu() + 1); }

/// Says where the caller runs. The other side reads the line all the time: it is written only where that changed.
inline void publish_cpu(std::atomic<std::uint32_t>& cpu) noexcept {
  const std::uint32_t own = own_cpu();
  if (cpu.load(std::memory_order_relaxed) != own) cpu.store(own, std::memory_order_relaxed);
}

/// Looks until `ready()` or for that long; what ready() said last.
template <class Ready>
bool look_for(std::uint32_t spin_ns, bool yields, Ready ready) noexcept {
  constexpr int looks_between_clock_reads = 32;
  if (spin_ns == 0) return ready();
  const clock::time_point until = clock::now() + nanoseconds(spin_ns);
  do {
    for (int i = 0; i < looks_between_clock_reads; ++i) {
      if (ready()) return true;
      pause();
    }
    if (yields) os::let_others_run();
  } while (clock::now() < until);
  return ready();
}

}  // namespace tandem::pools
