#include "worker/fork_watch.hpp"

#include <pthread.h>

#include <atomic>

#include "os/faults.hpp"
#include "worker/child_side.hpp"
#include "worker/runtime.hpp"

namespace tandem::worker {

namespace {
std::atomic<unsigned> epoch{0};
}  // namespace

unsigned fork_epoch() noexcept { return epoch.load(std::memory_order_relaxed); }

void count_own_fork() noexcept { epoch.fetch_add(1, std::memory_order_relaxed); }

void become_detached() {
  count_own_fork();
  os::set_role(os::role::detached);
  runtime::forget_connections();
  forget_worker();
}

void watch_forks() {
  static std::atomic<bool> watching{false};
  if (watching.exchange(true)) return;
  ::pthread_atfork(nullptr, nullptr, become_detached);
}

}  // namespace tandem::worker
