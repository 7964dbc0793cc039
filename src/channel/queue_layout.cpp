#include "channel/queue_layout.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <stdexcept>

#include "sync/environment.hpp"

namespace tandem::channel {

namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t line = 64;
constexpr std::size_t too_much = std::numeric_limits<std::size_t>::max();

// Sums and products that stay at `too_much` once they are there.
std::size_t plus(std::size_t a, std::size_t b) { return a > too_much - b ? too_much : a + b; }
std::size_t times(std::size_t a, std::size_t b) { return a != 0 && b > too_much / a ? too_much : a * b; }
std::size_t up_to(std::size_t a, std::size_t unit) {
  return a > too_much - unit ? too_much : (a + unit - 1) / unit * unit;
}

constexpr std::size_t least_bytes = std::size_t{1} << 20;
// A ring of so much memory moves large messages many times faster than one that stays in the nearest cache: the writer is
// lines ahead of the reader, and they do not wait for each other's.
constexpr std::size_t wide_ring = std::size_t{4} << 20;
constexpr std::size_t large_message = 1024;

std::uint64_t slots_for(std::uint64_t limit, std::size_t stride) {
  const std::uint64_t least = std::max<std::uint64_t>(limit, 2);
  // A power of two, unless what that would waste is more than a division costs.
  return stride < page && least <= std::uint64_t{1} << 62 ? std::bit_ceil(least) : least;
}

}  // namespace

queue_layout layout_of(const detail::queue_form& form) {
  if (form.capacity == 0)
    throw std::invalid_argument("tandem: a queue of capacity 0 would never have room: 1 is the least");
  queue_layout made;
  made.most_bytes = form.bytes;
  if (form.bytes == 0) {
    const std::size_t each = std::max<std::size_t>(form.value_bytes, 256);
    made.most_bytes = std::max(least_bytes, times(form.capacity, each));
  }
  made.slots = up_to(sizeof(ring_words<sync::environment>), page);
  made.limit = form.capacity;
  if (form.flat_bytes != 0) {
    const std::size_t alignment = std::max<std::size_t>(form.alignment, 1);
    made.payload = up_to(sizeof(slot_head<sync::environment>), alignment);
    made.stride = up_to(plus(made.payload, form.flat_bytes), std::max(line, alignment));
    if (form.bytes != 0) made.limit = std::clamp<std::uint64_t>(form.bytes / form.flat_bytes, 1, form.capacity);
    made.count = slots_for(made.limit, made.stride);
    if (form.bytes == 0 && form.flat_bytes >= large_message)
      made.count = std::max<std::uint64_t>(made.count, slots_for(wide_ring / made.stride, made.stride));
  } else {
    made.stride = sizeof(placed_slot<sync::environment>);
    made.count = slots_for(made.limit, made.stride);
    made.arena_bytes = up_to(made.most_bytes, page);
  }
  made.arena = up_to(plus(made.slots, times(made.count, made.stride)), page);
  made.total = plus(made.arena, made.arena_bytes);
  return made;
}

}  // namespace tandem::channel
