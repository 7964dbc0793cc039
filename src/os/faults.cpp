#include "os/faults.hpp"

#if defined(TANDEM_FAULTS)
#include <sys/mman.h>

#include <new>
#endif

namespace tandem::os {

namespace {
std::atomic<role> process_role{role::host};
}  // namespace

role current_role() noexcept { return process_role.load(std::memory_order_relaxed); }
void set_role(role r) noexcept { process_role.store(r, std::memory_order_relaxed); }

#if defined(TANDEM_FAULTS)
namespace {

struct counters {
  std::atomic<int> armed{-1};  // the role that fails, or -1
  std::atomic<int> countdown{0};
  std::atomic<int> error{0};
  std::atomic<int> fired{0};
};

counters private_counters;
counters* active = &private_counters;

}  // namespace

int injected() noexcept {
  counters& c = *active;
  if (c.armed.load(std::memory_order_relaxed) != static_cast<int>(current_role())) return 0;
  if (c.countdown.fetch_sub(1, std::memory_order_relaxed) != 1) return 0;
  c.fired.store(1, std::memory_order_relaxed);
  return c.error.load(std::memory_order_relaxed);
}

namespace faults {

void share() {
  if (active != &private_counters) return;
  void* page = ::mmap(nullptr, sizeof(counters), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) throw std::bad_alloc();
  active = new (page) counters;
}

void arm(role r, int nth, int error) noexcept {
  active->armed.store(-1, std::memory_order_relaxed);
  active->fired.store(0, std::memory_order_relaxed);
  active->error.store(error, std::memory_order_relaxed);
  active->countdown.store(nth, std::memory_order_relaxed);
  active->armed.store(static_cast<int>(r), std::memory_order_seq_cst);
}

bool disarm() noexcept {
  active->armed.store(-1, std::memory_order_seq_cst);
  return active->fired.load(std::memory_order_relaxed) != 0;
}

}  // namespace faults
#endif

}  // namespace tandem::os
