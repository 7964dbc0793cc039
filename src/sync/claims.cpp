#include "sync/claims.hpp"

#include <array>
#include <cerrno>

#include "os/kernel.hpp"
#include "sync/environment.hpp"
#include "sync/table.hpp"

namespace tandem::sync {

std::uint32_t take_claim(std::uint64_t object) { return take_claim_for(environment::me(), object); }

std::uint32_t take_claim_for(std::uint32_t owner, std::uint64_t object) {
  session_page& p = session();
  const std::uint32_t index = find_entry(p.claim_marks, claim_count, [&](std::uint32_t i) {
    std::uint32_t nobody = 0;
    return p.claims[i].owner.load(std::memory_order_relaxed) == 0 &&
           p.claims[i].owner.compare_exchange_strong(nobody, owner, std::memory_order_acq_rel);
  });
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

void end_attachment(std::uint32_t index) noexcept {
  session_page* const p = session_if_made();
  claim& c = p->claims[index % claim_count];
  const std::uint32_t owner = c.owner.load(std::memory_order_acquire);
  if (owner == 0 || owner != process_as_a_whole()) return;
  c.state.store(with_step(c.state.load(std::memory_order_relaxed), claim_step::idle), std::memory_order_release);
  free_claim(index);
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
    if (step == claim_step::idle || step == claim_step::attached) {
      c.state.store(with_step(c.state.load(std::memory_order_relaxed), claim_step::idle), std::memory_order_release);
      free_claim(i);
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

void join_party(std::uint32_t process, std::uint64_t object) {
  if (has_claim(process, object)) return;
  auto& state = environment::claim_at(take_claim_for(process, object)).state;
  state.store(next_use(state.load(std::memory_order_relaxed), claim_step::attached), std::memory_order_seq_cst);
}

namespace {

void forget_party(session_page& p, std::uint32_t index, std::uint32_t owner) noexcept {
  // Whoever takes the entry next finds it idle; the owner is gone, and writes no more.
  claim& c = p.claims[index];
  std::uint32_t state = c.state.load(std::memory_order_acquire);
  if (step_of(state) != claim_step::attached ||
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
          step_of(p.claims[i].state.load(std::memory_order_acquire)) == claim_step::attached) {
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
