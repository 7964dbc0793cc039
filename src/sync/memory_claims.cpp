#include "sync/memory_claims.hpp"

#include <atomic>
#include <map>
#include <mutex>

#include <tandem/detail/sync_memory.hpp>

#include "sync/claims.hpp"
#include "sync/environment.hpp"

namespace tandem {

namespace sync {

namespace {

struct attached_memory {
  std::size_t bytes = 0;
  std::uint64_t number = 0;
};
struct attachments {
  std::mutex mutex;
  std::map<std::uintptr_t, attached_memory> by_address;
};
attachments& attached() {
  static auto* const all = new attachments;  // never destroyed: memory may be let go by destructors of static objects
  return *all;
}
std::atomic<std::size_t> attached_count{0};

bool process_has(std::uint32_t owner, std::uint64_t object) noexcept {
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

void claim_for_process(std::uint64_t object) {
  const std::uint32_t owner = enroll_process();
  if (process_has(owner, object)) return;
  auto& state = environment::claim_at(take_claim_for(owner, object)).state;
  state.store(next_use(state.load(std::memory_order_relaxed), claim_step::attached), std::memory_order_seq_cst);
}

}  // namespace

std::uint64_t memory_number_at(const void* where) noexcept {
  if (attached_count.load(std::memory_order_acquire) == 0) return 0;
  attachments& all = attached();
  const std::lock_guard lock(all.mutex);
  const auto address = reinterpret_cast<std::uintptr_t>(where);
  auto after = all.by_address.upper_bound(address);
  if (after == all.by_address.begin()) return 0;
  --after;
  return address - after->first < after->second.bytes ? after->second.number : 0;
}

void pay(std::uint64_t latch) { claim_for_process(latch); }

bool debtor_was_killed(std::uint64_t memory, std::uint64_t latch) noexcept {
  const session_page& p = *session_if_made();
  const std::uint32_t used = used_of(p.claim_marks, claim_count);
  for (std::uint32_t i = 1; i < used; ++i) {
    if (p.claims[i].object.load(std::memory_order_acquire) != memory ||
        step_of(p.claims[i].state.load(std::memory_order_acquire)) != claim_step::attached) {
      continue;
    }
    const std::uint32_t owner = p.claims[i].owner.load(std::memory_order_acquire);
    if (owner != 0 && was_killed(owner) && !process_has(owner, latch)) return true;
  }
  return false;
}

}  // namespace sync

namespace detail {

std::uint64_t session_number() { return sync::session_id(); }

std::uint64_t new_memory_number() { return sync::session().objects.fetch_add(1, std::memory_order_relaxed) + 1; }

void attach_memory(std::uint64_t number, const void* address, std::size_t bytes, memory_origin origin) {
  sync::session();
  sync::attachments& all = sync::attached();
  const std::lock_guard lock(all.mutex);
  all.by_address.insert_or_assign(reinterpret_cast<std::uintptr_t>(address), sync::attached_memory{bytes, number});
  sync::attached_count.store(all.by_address.size(), std::memory_order_release);
  if (origin == memory_origin::handed) sync::claim_for_process(number);
}

void detach_memory(const void* address) noexcept {
  sync::attachments& all = sync::attached();
  const std::lock_guard lock(all.mutex);
  all.by_address.erase(reinterpret_cast<std::uintptr_t>(address));
  sync::attached_count.store(all.by_address.size(), std::memory_order_release);
}

}  // namespace detail
}  // namespace tandem
