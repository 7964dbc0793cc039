#include "sync/claims.hpp"

#include <algorithm>

namespace tandem::sync {

bool drop_claims(session_page& p, std::uint32_t id) noexcept {
  const std::uint32_t used = std::min(p.claim_marks.used.load(std::memory_order_acquire), claim_count);
  bool none_left = true;
  for (std::uint32_t i = 1; i < used; ++i) {
    claim& c = p.claims[i];
    if (c.owner.load(std::memory_order_acquire) != id) continue;
    const claim_step step = step_of(c.state.load(std::memory_order_acquire));
    if (step == claim_step::idle || step == claim_step::attached) {
      c.owner.store(0, std::memory_order_release);
    } else {
      none_left = false;
    }
  }
  return none_left;
}

}  // namespace tandem::sync
