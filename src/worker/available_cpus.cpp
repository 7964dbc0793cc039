#include <algorithm>
#include <thread>

#include <tandem/init.hpp>

#include "os/kernel.hpp"

namespace tandem {

unsigned available_cpus() {
  const int allowed = os::allowed_cpus();
  const unsigned cpus =
      allowed > 0 ? static_cast<unsigned>(allowed) : std::max(1U, std::thread::hardware_concurrency());
  return std::max(1U, std::min(cpus, os::cpu_quota().value_or(cpus)));
}

}  // namespace tandem
