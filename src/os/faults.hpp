#pragma once
// Where a test makes the n-th call into the kernel fail. Built with TANDEM_FAULTS; without it injected() is the
// constant 0.
#include <atomic>

namespace tandem::os {

enum class role : int {
  host,
  keeper,
  server,
  worker,
  detached,  // a copy that fork() made of one that has workers, or is one
  copied,    // a copy that fork() made of a program without workers: it may become a host of its own
};

/// What this process is in the tree of processes; a global, set after each fork.
role current_role() noexcept;
[[gnu::hot]] void set_role(role) noexcept;

#if defined(TANDEM_FAULTS)
/// The errno that this call has to fail with, or 0. Counts the calls of the role that is armed.
int injected() noexcept;

namespace faults {
/// Moves the counters into memory shared with every process forked from now on. Call before init().
void share();
/// Makes the `nth` call (from 1) of processes with that role fail with `error`.
void arm(role, int nth, int error) noexcept;
/// Stops it. True if the call was reached, so that a further one may exist.
bool disarm() noexcept;
}  // namespace faults
#else
constexpr int injected() noexcept { return 0; }
#endif

}  // namespace tandem::os
