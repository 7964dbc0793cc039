#pragma once
// What a pool and one of its worker processes share: one sealed memfd for each worker, so that no worker reaches what is
// another's. The program copies, then checks, then uses whatever it reads there.
//
// A ring of slots. The program fills them in order of tickets; slot and turn of a ticket follow from its number. A slot's
// word says for which turn it is and how far it is:
//
//   free --program--> queued --worker--> claimed --worker--> value, error --program--> (next turn)
//                        \--program--> removed: the worker passes it over
//
// Each step is one atomic operation on the word, so that a death between two leaves one of them.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tandem::pools {

using word = std::atomic<std::uint32_t>;

enum class step : std::uint32_t { free, queued, claimed, value, error, removed };

constexpr std::uint32_t step_bits = 7;
constexpr std::uint32_t waited_bit = 8;    // somebody sleeps at the word
constexpr std::uint32_t watched_bit = 16;  // the program wants to be rung when the task has ended
constexpr std::uint32_t left_bit = 32;     // the program waits for it no more; only so that the word changes
constexpr std::uint32_t turn_shift = 6;

constexpr std::uint32_t slot_count = 64;
constexpr std::size_t inline_in_bytes = 448;
constexpr std::size_t inline_out_bytes = 240;
constexpr std::uint32_t most_out_segments = 16;

/// A ticket's word without the flags.
constexpr std::uint32_t word_of(std::uint64_t ticket, step s) {
  return (static_cast<std::uint32_t>(ticket / slot_count) << turn_shift) | static_cast<std::uint32_t>(s);
}
constexpr step step_of(std::uint32_t w) { return static_cast<step>(w & step_bits); }
/// How many turns the word is ahead of the ticket; below zero: the slot is not filled for it yet.
constexpr std::int32_t turns_ahead(std::uint32_t w, std::uint64_t ticket) {
  return static_cast<std::int32_t>((w & ~((1U << turn_shift) - 1)) - word_of(ticket, step::free)) >> turn_shift;
}
constexpr bool has_ended(std::uint32_t w) { return step_of(w) == step::value || step_of(w) == step::error; }

struct alignas(64) slot {
  word state;
  word stop;                             // 1: a stop is requested
  std::uint32_t attempt;                 // from 1
  std::uint32_t handles;                 // so many descriptors come over the socket
  std::uint32_t in_segment;              // 0: the call is in `in`; else it is in the segment of that number
  std::uint32_t handle_lot;              // those descriptors, and no others of the same ticket, which were sent in vain
  std::int64_t deadline_ns;              // from the start; 0: none
  std::atomic<std::int64_t> started_ns;  // of steady_clock; written if there is a deadline
  std::uint64_t in_bytes;
  alignas(64) std::array<std::byte, inline_in_bytes> in;
  // Not in the line of the word, which the program looks at meanwhile.
  alignas(64) std::uint64_t out_bytes;
  std::uint32_t out_segment;  // as in_segment
  std::uint32_t out_handles;
  std::array<std::byte, inline_out_bytes> out;
};
static_assert(sizeof(slot) == 64 + inline_in_bytes + 16 + inline_out_bytes);

/// What the worker may write at any time, read once.
template <class T>
T read_once(const T& from) noexcept {
  return *static_cast<const volatile T*>(&from);
}

enum class phase : std::uint32_t { starting, initialising, ready };

struct region {
  // Written by the program.
  alignas(64) word bell;            // a futex: 1 while the worker sleeps
  word quit;                        // 1: end after this task
  word ring_dry;                    // 1: ring before sleeping
  word ring_each;                   // 1: ring after each task is claimed
  word host_cpu;                    // where it was when it wrote last; a number from 1, 0 if unknown
  std::uint32_t spin_ns;            // for how long the worker spins for work
  std::uint32_t yields;             // 1: and lets others run meanwhile
  std::uint32_t most_tasks;         // 0: no bound
  std::uint64_t most_memory_bytes;  // 0: no bound
  std::uint64_t first_ticket;
  std::uint32_t workers;       // how many the pool has, this one included
  alignas(64) word stop_bell;  // a futex: moves with each stop that is requested
  // Written by the worker.
  alignas(64) word reached;  // a phase
  word worker_cpu;           // as host_cpu
  word rung;                 // 1: a ring is on its way
  /// Of each segment with a result: 1 while the program needs it. The worker sets, the program clears.
  alignas(64) std::array<word, most_out_segments> out_segment_used;
  std::array<slot, slot_count> slots;
};

/// What goes over the socket between the two, with descriptors.
enum class parcel_kind : std::uint32_t {
  segment,  // + a memfd, of that number and size; of no size: forget it
  handles,  // + handles of the task or the result with that ticket
  ring,     // from the worker: there is something to see to
};
struct parcel {
  parcel_kind kind{};
  std::uint32_t number = 0;
  std::uint64_t ticket = 0;
  std::uint64_t bytes = 0;
};

}  // namespace tandem::pools
