#pragma once
// How long somebody who waits for a task spins before he sleeps.
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

/// True as soon as `done()` is; false after the bound.
template <class Done>
bool spin(Done done, [[maybe_unused]] clock::time_point deadline) {
  for (unsigned turns = sync::spin_turns(); turns > 0; --turns) {
    if (done()) return true;
    pause();
  }
  return done();
}

}  // namespace tandem::pools
