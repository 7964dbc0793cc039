#include <algorithm>
#include <atomic>
#include <thread>

#include <tandem/init.hpp>

#include "os/kernel.hpp"
#include "worker/current_task.hpp"

namespace tandem {

unsigned available_cpus() {
  const int allowed = os::allowed_cpus();
  const unsigned cpus =
      allowed > 0 ? static_cast<unsigned>(allowed) : std::max(1U, std::thread::hardware_concurrency());
  return std::max(1U, std::min(cpus, os::cpu_quota().value_or(cpus)));
}

namespace worker {

namespace {
std::atomic<unsigned> sharers{1};
}

void share_cpus(unsigned workers) noexcept { sharers.store(std::max(1U, workers), std::memory_order_relaxed); }
unsigned own_cpus() { return std::max(1U, available_cpus() / sharers.load(std::memory_order_relaxed)); }

}  // namespace worker
}  // namespace tandem
