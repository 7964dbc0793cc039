#include <tandem/semaphore.hpp>

#include <stdexcept>
#include <string>

#include "sync/share_algorithm.hpp"

namespace tandem::detail {

using env = sync::environment;

std::uint64_t checked_permits(std::ptrdiff_t count, std::ptrdiff_t most) {
  if (count < 0 || count > most) {
    throw std::invalid_argument("tandem: a semaphore with " + std::to_string(count) + " permits: there may be 0 to " +
                                std::to_string(most));
  }
  return static_cast<std::uint64_t>(count);
}

bool acquire_permit(semaphore_state& s, clock::time_point deadline) {
  env::me();
  return sync::acquire_until<env>(s.permits, sync::number_of(s.number), 0, deadline);
}

bool try_acquire_permit(semaphore_state& s) {
  if (sync::try_acquire<env>(s.permits, 0)) return true;
  // Guards of those who have died may hold some.
  return sync::settle_shares<env>(s.permits, sync::number_of(s.number), sync::give_one{}) &&
         sync::try_acquire<env>(s.permits, 0);
}

void release_permits(semaphore_state& s, std::ptrdiff_t count, std::ptrdiff_t most) {
  sync::session();
  if (count < 0 || count > most ||
      !sync::release_some<env>(s.permits, static_cast<std::uint32_t>(count), static_cast<std::uint32_t>(most))) {
    throw std::invalid_argument("tandem: release of " + std::to_string(count) +
                                " permits, with which a semaphore would have more than its " + std::to_string(most));
  }
}

held_permit acquire_for_guard(semaphore_state& s) {
  const std::uint64_t number = sync::number_of(s.number);
  const std::uint32_t claim = sync::take_claim(number);
  sync::acquire_until<env>(s.permits, number, claim, os::never);
  return {claim, env::claim_at(claim).state.load(std::memory_order_acquire)};
}

void release_of_guard(semaphore_state& s, held_permit held) noexcept {
  sync::release_claimed<env>(s.permits, held.claim, held.state);
  sync::free_claim_after(held.claim, held.state);
}

}  // namespace tandem::detail
