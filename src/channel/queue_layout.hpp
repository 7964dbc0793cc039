#pragma once
// Where what is in the memory of a queue: reckoned by each process for itself, from what the queue was made for. Nothing of
// it is read from the memory.
#include <cstddef>
#include <cstdint>

#include <tandem/detail/channel_queue.hpp>

#include "channel/ring.hpp"

namespace tandem::channel {

/// In a slot of a queue of messages of any size, after the head: where the message is. A small one is in the slot itself.
template <class Env>
struct placed_slot {
  slot_head<Env> head;
  typename Env::wide start;  // in the arena, counted on and on
  typename Env::wide size;
  std::byte small[32];
};

struct queue_layout {
  std::size_t slots = 0;    // where they begin
  std::size_t stride = 0;   // from one to the next
  std::uint64_t count = 0;  // of them
  std::uint64_t limit = 0;  // how many may be full
  std::size_t payload = 0;  // where in a slot a message of one size begins
  std::size_t arena = 0;    // where messages of any size are
  std::size_t arena_bytes = 0;
  std::size_t most_bytes = 0;  // of one message
  std::size_t total = 0;       // all; the largest number there is if it is more than that
};

/// Errors: std::invalid_argument for a capacity of 0.
queue_layout layout_of(const detail::queue_form&);

}  // namespace tandem::channel
