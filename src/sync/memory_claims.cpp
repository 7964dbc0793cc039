#include "sync/memory_claims.hpp"

#include <atomic>
#include <map>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include <tandem/detail/sync_memory.hpp>

#include "sync/claims.hpp"
#include "sync/environment.hpp"

namespace tandem {

namespace sync {

namespace {

struct kept_claim {
  std::uint32_t index;
  std::uint64_t object;
};
struct attached_memory {
  std::size_t bytes = 0;
  std::uint64_t number = 0;
  bool was_handed = false;
  std::vector<kept_claim> claims = {};  // of this process, on what lies there; they go with the memory
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

// Room for one more. Those of threads that have ended are another's by now.
void make_room(std::vector<kept_claim>& claims) {
  if (claims.size() < claims.capacity()) return;
  std::erase_if(claims, [](const kept_claim& c) {
    const claim& now = environment::claim_at(c.index);
    return now.object.load(std::memory_order_relaxed) != c.object ||
           !is_of_this_process(now.owner.load(std::memory_order_acquire));
  });
  if (claims.size() == claims.capacity()) claims.reserve(2 * claims.size() + 1);
}

void claim_for_process(attached_memory& memory, std::uint64_t object) {
  make_room(memory.claims);
  const std::uint32_t claim = take_claim_for(enroll_process(), object);
  memory.claims.push_back({claim, object});
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

// What this process is in an object goes on if it has the memory a second time, elsewhere.
void let_go(attachments& all, const attached_memory& gone) noexcept {
  attached_memory* other = nullptr;
  for (auto& [address, memory] : all.by_address) {
    if (memory.number == gone.number) other = &memory;
  }
  for (const kept_claim& c : gone.claims) {
    if (other == nullptr || c.object == gone.number) {
      end_attachment(c.index, c.object);
    } else {
      try {
        make_room(other->claims);
        other->claims.push_back(c);
      } catch (const std::bad_alloc&) {  // then it ends with the process
      }
    }
  }
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
  if (found != nullptr && found->was_handed && !has_claim(enroll_process(), latch)) claim_for_process(*found, latch);
}

void keep_with_memory(const void* where, std::uint32_t claim, std::uint64_t object) {
  if (attached_count.load(std::memory_order_acquire) == 0) return;
  attachments& all = attached();
  const std::lock_guard lock(all.mutex);
  attached_memory* const found = memory_at(all, where);
  if (found == nullptr) return;
  make_room(found->claims);
  found->claims.push_back({claim, object});
}

void owe_as_a_copy() noexcept {
  if (attached_count.load(std::memory_order_acquire) == 0) return;
  attachments& all = attached();
  const std::unique_lock lock(all.mutex, std::try_to_lock);
  if (!lock) return;  // by a thread of the original, which is not here
  for (auto& [address, memory] : all.by_address) {
    memory.claims.clear();  // the original's
    try {
      claim_for_process(memory, memory.number);
      memory.was_handed = true;
    } catch (const std::exception&) {  // no room for its debts: it has none, and is let go all the same
    }
  }
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
  sync::attached_memory memory{bytes, number, origin == memory_origin::handed, {}};
  if (origin == memory_origin::handed) sync::claim_for_process(memory, number);
  all.by_address.insert_or_assign(reinterpret_cast<std::uintptr_t>(address), std::move(memory));
  sync::attached_count.store(all.by_address.size(), std::memory_order_release);
}

void detach_memory(const void* address) noexcept {
  sync::attachments& all = sync::attached();
  const std::lock_guard lock(all.mutex);
  const auto found = all.by_address.find(reinterpret_cast<std::uintptr_t>(address));
  if (found == all.by_address.end()) return;
  const sync::attached_memory gone = std::move(found->second);
  all.by_address.erase(found);
  sync::let_go(all, gone);
  sync::attached_count.store(all.by_address.size(), std::memory_order_release);
}

}  // namespace detail
}  // namespace tandem
