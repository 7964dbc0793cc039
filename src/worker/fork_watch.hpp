#pragma once
// Notices that this process is a copy: made by the user's fork(), or by tandem itself.
namespace tandem::worker {

/// How many forks lie between this process and the first one. An object remembers it, and in a copy leaves alone what
/// belongs to the original.
unsigned fork_epoch() noexcept;
/// From now on a child made by fork() is told that it is detached.
void watch_forks();
/// What such a child does.
[[gnu::hot]] void become_detached();
/// In a child that tandem made: it is a copy as well, but not detached.
[[gnu::hot]] void count_own_fork() noexcept;

}  // namespace tandem::worker
