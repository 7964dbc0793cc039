#include <tandem/barrier.hpp>

#include <stdexcept>
#include <string>

#include <tandem/error.hpp>

#include "sync/barrier_algorithm.hpp"
#include "sync/memory_claims.hpp"

namespace tandem::detail {

using env = sync::environment;
using sync::claim_step;

std::uint64_t barrier_of(std::ptrdiff_t parties) {
  if (parties < 1 || parties > static_cast<std::ptrdiff_t>(sync::party_mask)) {
    throw std::invalid_argument("tandem: a barrier for " + std::to_string(parties) + " parties: there may be 1 to " +
                                std::to_string(sync::party_mask));
  }
  const auto count = static_cast<std::uint32_t>(parties);
  return sync::barrier_word(count, count, 0);
}

namespace {

// Before it first arrives, so that there is no moment at which its death would not be seen.
std::uint32_t attach(barrier_state& b, std::uint64_t number) {
  if (const std::uint32_t claim = sync::own_claim(number, claim_step::attached)) return claim;
  const std::uint32_t claim = sync::take_claim(number);
  auto& state = env::claim_at(claim).state;
  state.store(sync::next_use(state.load(std::memory_order_relaxed), claim_step::attached), std::memory_order_seq_cst);
  sync::remember_claim(number, claim);
  sync::keep_with_memory(&b, claim, number);
  env::step("barrier.attached");
  return claim;
}

void detach(std::uint32_t claim) noexcept {
  auto& state = env::claim_at(claim).state;
  state.store(sync::with_step(state.load(std::memory_order_relaxed), claim_step::idle), std::memory_order_release);
  sync::free_claim(claim);
}

void arrive(barrier_state& b, sync::arrival how) {
  env::me();
  const std::uint64_t number = sync::number_of(b.number);
  const std::uint32_t claim = attach(b, number);
  const std::uint32_t deaths = env::deaths();
  if (b.seen_deaths.load(std::memory_order_relaxed) != deaths) {
    sync::break_for_the_dead<env>(b.word, number);
    b.seen_deaths.store(deaths, std::memory_order_relaxed);
  }
  const sync::barrier_end end = sync::arrive<env>(b.word, number, how);
  if (how == sync::arrival::leaves) detach(claim);
  if (end == sync::barrier_end::broken) {
    throw broken_barrier(
        "tandem: the barrier is broken: one of its parties was killed, or reset() was called while others waited; "
        "reset() makes it good for as many as before");
  }
}

}  // namespace

void arrive_and_wait(barrier_state& b) { arrive(b, sync::arrival::stays); }
void arrive_and_drop(barrier_state& b) { arrive(b, sync::arrival::leaves); }

void reset_barrier(barrier_state& b) {
  env::me();
  sync::reset_barrier<env>(b.word, sync::number_of(b.number));
}

void end_barrier(barrier_state& b) noexcept { sync::end_attachments(b.number.load(std::memory_order_relaxed)); }

}  // namespace tandem::detail
