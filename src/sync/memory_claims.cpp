#include "sync/memory_claims.hpp"

#include <atomic>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include <tandem/detail/sync_memory.hpp>

#include "sync/claims.hpp"
#include "sync/environment.hpp"

namespace tandem {

namespace sync {

namespace {

struct attached_memory {
  std::size_t bytes = 0;
  std::uint64_t number = 0;
  std::vector<std::uint32_t> claims = {};  // of this process; they go with the memory
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

void claim_for_process(attached_memory& memory, std::uint64_t object) {
  memory.claims.reserve(memory.claims.size() + 1);
  const std::uint32_t claim = take_claim_for(enroll_process(), object);
  memory.claims.push_back(claim);
  auto& state = environment::claim_at(claim).state;
  state.store(next_use(state.load(std::memory_order_relaxed), claim_step::attached), std::memory_order_seq_cst);
}

attached_memory* memory_at(attachments& all, const void* where) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(where);
  auto after = all.by_address.upper_bound(address);
  if (after == all.by_address.begin()) return nullptr;
  --after;
  return address - after->first < after->second.bytes ? &after->second : nullptr;
}

}  // namespace

std::uint64_t memory_number_at(const void* where) noexcept {
  if (attached_count.load(std::memory_order_acquire) == 0) return 0;
  attachments& all = attached();
  const std::lock_guard lock(all.mutex);
  const attached_memory* const found = memory_at(all, where);
  return found != nullptr ? found->number : 0;
}

void pay(const void* where, std::uint64_t latch) {
  attachments& all = attached();
  const std::lock_guard lock(all.mutex);
  attached_memory* const found = memory_at(all, where);
  if (found != nullptr && !found->claims.empty() && !has_claim(enroll_process(), latch))
    claim_for_process(*found, latch);
}

bool debtor_was_killed(std::uint64_t memory, std::uint64_t latch) noexcept {
  const session_page& p = *session_if_made();
  const std::uint32_t used = used_of(p.claim_marks, claim_count);
  for (std::uint32_t i = 1; i < used; ++i) {
    if (p.claims[i].object.load(std::memory_order_acquire) != memory ||
        step_of(p.claims[i].state.load(std::memory_order_acquire)) != claim_step::attached) {
      continue;
    }
    const std::uint32_t owner = p.claims[i].owner.load(std::memory_order_acquire);
    if (owner != 0 && was_killed(owner) && !has_claim(owner, latch)) return true;
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
  sync::attached_memory memory{bytes, number, {}};
  if (origin == memory_origin::handed) sync::claim_for_process(memory, number);
  all.by_address.insert_or_assign(reinterpret_cast<std::uintptr_t>(address), std::move(memory));
  sync::attached_count.store(all.by_address.size(), std::memory_order_release);
}

void detach_memory(const void* address) noexcept {
  sync::attachments& all = sync::attached();
  const std::lock_guard lock(all.mutex);
  const auto found = all.by_address.find(reinterpret_cast<std::uintptr_t>(address));
  if (found == all.by_address.end()) return;
  for (const std::uint32_t claim : found->second.claims) sync::end_attachment(claim);
  all.by_address.erase(found);
  sync::attached_count.store(all.by_address.size(), std::memory_order_release);
}

}  // namespace detail
}  // namespace tandem
