#pragma once
// Room for messages of any size: a ring of bytes, taken in the order of the positions and free again when all before it are
// read. Who takes room holds a lock for that moment; a dead owner leaves it free, since nothing is half done: what counts
// is the one step that takes the position.
#include <algorithm>

#include "channel/queue_layout.hpp"

namespace tandem::channel {

template <class Env>
class arena {
 public:
  arena(ring<Env>& r, std::uint64_t bytes) noexcept : ring_(r), bytes_(bytes) {}

  /// Takes the next position, and room for so many bytes. At most as many as there are. `none` also if another who takes
  /// room has not ended by the deadline.
  claim_end claim_push(std::uint32_t self, std::uint64_t& position, std::uint64_t size, clock::time_point deadline) {
    auto& lock = ring_.all().placing;
    if (!lock_for_a_moment<Env>(lock, deadline)) return claim_end::none;
    Env::step("place.locked");
    claim_end end = claim_end::none;
    try {
      end = ring_.claim_push(self, position, [&](std::uint64_t at) { return take_room(at, size); });
    } catch (...) {
      sync::unlock_word<Env>(lock);
      throw;
    }
    sync::unlock_word<Env>(lock);
    return end;
  }

  placed_slot<Env>& slot(std::uint64_t position) const noexcept {
    // SAFETY: the slots of this ring were made of that size, and zeros are a valid one.
    return reinterpret_cast<placed_slot<Env>&>(ring_.slot(position));
  }

 private:
  static constexpr std::uint64_t line = 64;
  static constexpr std::uint64_t room_for(std::uint64_t size) noexcept {
    return size <= sizeof(placed_slot<Env>::small) ? 0 : (size + line - 1) / line * line;
  }

  std::uint64_t end_before(std::uint64_t position) const noexcept {
    if (position == 0) return 0;
    const placed_slot<Env>& last = slot(position - 1);
    return last.start.load(std::memory_order_relaxed) + room_for(last.size.load(std::memory_order_relaxed));
  }

  // Where the room that is in use begins.
  std::uint64_t begin_of_used(std::uint64_t position, std::uint64_t end) noexcept {
    auto& oldest = ring_.all().oldest;
    const std::uint64_t count = ring_.form().count;
    std::uint64_t at = oldest.load(std::memory_order_relaxed);
    if (at > position || position - at > count) at = position < count ? 0 : position - count;
    while (at < position && is_free_again(at)) ++at;
    oldest.store(at, std::memory_order_relaxed);
    return at == position ? end : slot(at).start.load(std::memory_order_relaxed);
  }
  bool is_free_again(std::uint64_t position) const noexcept {
    return round_in(ring_.slot(position).word.load(std::memory_order_acquire)) != ring_.round_of(position);
  }

  bool take_room(std::uint64_t position, std::uint64_t size) noexcept {
    const std::uint64_t start = end_before(position);
    const std::uint64_t needed = room_for(size);
    if (needed != 0) {
      const std::uint64_t used = start - begin_of_used(position, start);
      if (used > bytes_ || needed > bytes_ - used) return false;
    }
    placed_slot<Env>& s = slot(position);
    s.start.store(start, std::memory_order_relaxed);
    s.size.store(size, std::memory_order_relaxed);
    Env::step("place.written");
    return true;
  }

  ring<Env>& ring_;
  std::uint64_t bytes_;
};

}  // namespace tandem::channel
