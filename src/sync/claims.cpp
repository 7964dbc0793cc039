#include "sync/claims.hpp"

#include <array>
#include <cerrno>

#include "os/kernel.hpp"
#include "sync/environment.hpp"
#include "sync/table.hpp"

namespace tandem::sync {

std::uint32_t take_claim(std::uint64_t object) { return take_claim_for(environment::me(), object); }

namespace {

constexpr bool is_membership(claim_step step) noexcept {
  return step == claim_step::attached || step == claim_step::pushing;
}

// The table is full: the claim of one that died, from the hint on, which goes round. A share that it holds stays its own,
// until the object gets it back.
std::uint32_t take_claim_of_the_dead(session_page& p, std::uint32_t owner) noexcept {
  return find_entry(p.claim_marks, claim_count, [&](std::uint32_t i) {
    claim& c = p.claims[i];
    std::uint32_t before = c.owner.load(std::memory_order_acquire);
    if (is_live(before)) return false;
    std::uint32_t state = c.state.load(std::memory_order_acquire);
    if (step_of(state) != claim_step::idle) {
      if (!is_membership(step_of(state)) ||
          !c.state.compare_exchange_strong(state, with_step(state, claim_step::idle), std::memory_order_acq_rel))
        return false;
    }
    return c.owner.compare_exchange_strong(before, owner, std::memory_order_acq_rel);
  });
}

}  // namespace

std::uint32_t take_claim_for(std::uint32_t owner, std::uint64_t object) {
  session_page& p = session();
  std::uint32_t index = find_entry(p.claim_marks, claim_count, [&](std::uint32_t i) {
    std::uint32_t nobody = 0;
    return p.claims[i].owner.load(std::memory_order_relaxed) == 0 &&
           p.claims[i].owner.compare_exchange_strong(nobody, owner, std::memory_order_acq_rel);
  });
  if (index == 0) index = take_claim_of_the_dead(p, owner);
  if (index == 0)
    os::throw_failed("tandem: shares in locks", EAGAIN,
                     "too many are held at once, by all processes; release some first");
  p.claims[index].object.store(object, std::memory_order_release);
  return index;
}

void free_claim(std::uint32_t index) noexcept {
  session_page& p = *session_if_made();
  p.claims[index % claim_count].owner.store(0, std::memory_order_release);
  freed_entry(p.claim_marks, index % claim_count);
}

namespace {

// One that is given up in order. A pusher that leaves so while others were killed before is not to leave them as the last
// ones: as long as it was there, they were not.
void give_up_membership(session_page& p, std::uint32_t index) noexcept {
  claim& c = p.claims[index];
  const std::uint32_t state = c.state.load(std::memory_order_acquire);
  if (step_of(state) == claim_step::pushing && p.deaths.load(std::memory_order_seq_cst) != 0)
    end_of_parties(c.object.load(std::memory_order_relaxed));
  c.state.store(with_step(state, claim_step::idle), std::memory_order_release);
  free_claim(index);
}

}  // namespace

void end_attachment(std::uint32_t index, std::uint64_t object) noexcept {
  session_page& p = *session_if_made();
  const claim& c = p.claims[index % claim_count];
  if (c.object.load(std::memory_order_acquire) != object ||
      !is_membership(step_of(c.state.load(std::memory_order_acquire))) ||
      !is_of_this_process(c.owner.load(std::memory_order_acquire)))
    return;
  give_up_membership(p, index % claim_count);
}

void end_attachments(std::uint64_t object) noexcept {
  const session_page* const p = session_if_made();
  if (p == nullptr) return;
  const std::uint32_t used = used_of(p->claim_marks, claim_count);
  for (std::uint32_t i = 1; i < used; ++i) end_attachment(i, object);
}

void free_claim_after(std::uint32_t index, std::uint32_t held) noexcept {
  claim& c = session_if_made()->claims[index % claim_count];
  std::uint32_t owner = c.owner.load(std::memory_order_acquire);
  const std::uint32_t given = with_step(next_use(held, claim_step::giving), claim_step::idle);
  if (owner == 0 || c.state.load(std::memory_order_acquire) != given) return;
  if (c.owner.compare_exchange_strong(owner, 0, std::memory_order_acq_rel))
    freed_entry(session_if_made()->claim_marks, index % claim_count);
}

namespace {

struct known_claim {
  std::uint64_t object;
  std::uint32_t index;
};
// Of the calling thread; each may be out of date, which the claim itself tells.
constinit thread_local std::array<known_claim, 8> known{};
constinit thread_local std::size_t oldest = 0;

bool is_own(const claim& c, std::uint64_t object, claim_step step) noexcept {
  return c.owner.load(std::memory_order_acquire) == detail::this_thread.id &&
         c.object.load(std::memory_order_relaxed) == object && step_of(c.state.load(std::memory_order_relaxed)) == step;
}

}  // namespace

std::uint32_t own_claim(std::uint64_t object, claim_step step) noexcept {
  const session_page* const p = session_if_made();
  if (p == nullptr || detail::this_thread.id == 0) return 0;
  for (const known_claim& k : known) {
    if (k.index != 0 && k.object == object && is_own(p->claims[k.index], object, step)) return k.index;
  }
  const std::uint32_t used = used_of(p->claim_marks, claim_count);
  for (std::uint32_t i = 1; i < used; ++i) {
    if (is_own(p->claims[i], object, step)) return i;
  }
  return 0;
}

void remember_claim(std::uint64_t object, std::uint32_t index) noexcept {
  for (known_claim& k : known) {
    if (k.index != 0 && k.object != object) continue;
    k = {object, index};
    return;
  }
  known[oldest++ % known.size()] = {object, index};
}

std::uint64_t number_of(std::atomic<std::uint64_t>& number) {
  session_page& p = session();
  std::uint64_t seen = number.load(std::memory_order_acquire);
  if (seen != 0) return seen;
  const std::uint64_t next = p.objects.fetch_add(1, std::memory_order_relaxed) + 1;
  return number.compare_exchange_strong(seen, next, std::memory_order_acq_rel) ? next : seen;
}

bool drop_claims(session_page& p, std::uint32_t id) noexcept {
  const std::uint32_t used = used_of(p.claim_marks, claim_count);
  bool none_left = true;
  for (std::uint32_t i = 1; i < used; ++i) {
    claim& c = p.claims[i];
    if (c.owner.load(std::memory_order_acquire) != id) continue;
    const claim_step step = step_of(c.state.load(std::memory_order_acquire));
    if (step == claim_step::idle || is_membership(step)) {
      give_up_membership(p, i);
    } else {
      none_left = false;
    }
  }
  return none_left;
}

bool has_claim(std::uint32_t owner, std::uint64_t object) noexcept {
  const session_page& p = *session_if_made();
  const std::uint32_t used = used_of(p.claim_marks, claim_count);
  for (std::uint32_t i = 1; i < used; ++i) {
    if (p.claims[i].owner.load(std::memory_order_acquire) == owner &&
        p.claims[i].object.load(std::memory_order_acquire) == object) {
      return true;
    }
  }
  return false;
}

std::uint32_t join_party(std::uint32_t process, std::uint64_t object) {
  if (has_claim(process, object)) return 0;
  const std::uint32_t claim = take_claim_for(process, object);
  auto& state = environment::claim_at(claim).state;
  state.store(next_use(state.load(std::memory_order_relaxed), claim_step::pushing), std::memory_order_seq_cst);
  return claim;
}

namespace {

void forget_party(session_page& p, std::uint32_t index, std::uint32_t owner) noexcept {
  // Whoever takes the entry next finds it idle; the owner is gone, and writes no more.
  claim& c = p.claims[index];
  std::uint32_t state = c.state.load(std::memory_order_acquire);
  if (step_of(state) != claim_step::pushing ||
      !c.state.compare_exchange_strong(state, with_step(state, claim_step::idle), std::memory_order_acq_rel)) {
    return;  // another was faster
  }
  if (c.owner.compare_exchange_strong(owner, 0, std::memory_order_acq_rel)) freed_entry(p.claim_marks, index);
}

}  // namespace

party_end end_of_parties(std::uint64_t object) noexcept {
  session_page& p = *session_if_made();
  const std::uint32_t used = used_of(p.claim_marks, claim_count);
  bool any_alive = false;
  bool any_killed = false;
  const auto each = [&](auto act) {
    for (std::uint32_t i = 1; i < used; ++i) {
      const std::uint32_t owner = p.claims[i].owner.load(std::memory_order_acquire);
      if (owner != 0 && p.claims[i].object.load(std::memory_order_acquire) == object &&
          step_of(p.claims[i].state.load(std::memory_order_acquire)) == claim_step::pushing) {
        act(i, owner);
      }
    }
  };
  each([&](std::uint32_t, std::uint32_t owner) {
    any_alive = any_alive || is_live(owner);
    any_killed = any_killed || was_killed(owner);
  });
  if (!any_alive) return any_killed ? party_end::killed : party_end::none;
  if (any_killed) {
    each([&](std::uint32_t i, std::uint32_t owner) {
      if (was_killed(owner)) forget_party(p, i, owner);
    });
  }
  return party_end::alive;
}

}  // namespace tandem::sync
