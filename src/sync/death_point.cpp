#include "sync/death_point.hpp"

#if defined(TANDEM_FAULTS)
#include <atomic>
#include <cstring>

namespace tandem::sync {

namespace {
std::atomic<const char*> armed{nullptr};
std::atomic<int> countdown{0};
std::atomic<void (*)()> at_that_point{nullptr};
}  // namespace

void arm_death_point(const char* name, int nth, void (*action)()) noexcept {
  at_that_point.store(action);
  countdown.store(nth);
  armed.store(name);
}

void death_point(const char* name) noexcept {
  const char* const wanted = armed.load(std::memory_order_relaxed);
  if (wanted == nullptr || std::strcmp(wanted, name) != 0) return;
  if (countdown.fetch_sub(1) == 1) at_that_point.load()();
}

}  // namespace tandem::sync
#endif
