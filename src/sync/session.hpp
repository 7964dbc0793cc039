#pragma once
// The session page: who takes part in locks, and which of them have died. One piece of shared memory, mapped by the
// program and by every process that it starts; it lives as long as any of them.
//
// Participants are threads. Each has an entry, which belongs to a process; whoever sees a process end marks its entries,
// moves the epoch, and wakes all that wait. Nothing here is believed: any process of the session can write all of it, so
// each index that is read is brought into its table.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include <tandem/detail/sync_word.hpp>

namespace tandem::sync {

constexpr std::uint32_t participant_bits = 15;
constexpr std::uint32_t participant_count = 1U << participant_bits;
constexpr std::uint32_t participant_mask = participant_count - 1;
constexpr std::uint32_t claim_count = 1U << 16;
constexpr std::size_t epoch_count = 64;

/// What an entry is; the bits above say for the how many-th time it is used.
enum class entry_state : std::uint32_t {
  unused,
  live,
  killed,  // named by what it held: not used again before the table is full
  ended,   // in order, but it held something
};

struct participant {
  std::atomic<std::uint32_t> process;  // the handle of its process; 0: nobody has this entry
  std::atomic<std::uint32_t> state;    // generation and entry_state
};

enum class process_state : std::uint32_t {
  unused,
  started,  // has no participants
  used,     // has participants
  leaving,  // ends in order, while some of its threads still hold something
};

struct process_record {
  std::atomic<std::uint32_t> state;   // generation and process_state
  std::atomic<std::uint32_t> domain;  // the handle of the fork server that ends it when it ends itself; 0: the program
};

/// That a participant has a share in an object: a count of a semaphore, a reader's place, a place at a barrier.
struct claim {
  std::atomic<std::uint32_t> owner;   // the id of the participant; 0: free
  std::atomic<std::uint32_t> state;   // claims.hpp
  std::atomic<std::uint64_t> object;  // its number
};

struct table_marks {
  std::atomic<std::uint32_t> hint;  // where a free entry may be
  std::atomic<std::uint32_t> used;  // no entry from here on was ever used
};

struct session_page {
  std::uint64_t id;
  alignas(64) std::atomic<std::uint64_t> objects;  // how many have a number
  alignas(64) std::atomic<std::uint32_t> deaths;
  alignas(64) table_marks participant_marks;
  table_marks process_marks;
  table_marks claim_marks;
  struct alignas(64) line {
    std::atomic<std::uint32_t> epoch;
  };
  // What waiters watch for deaths. Many, so that those who wait do not meet in one queue of the kernel.
  line epochs[epoch_count];
  alignas(4096) participant participants[participant_count];
  process_record processes[participant_count];
  claim claims[claim_count];
};

/// The page, made on first need. Errors: resource_exhausted; not_initialised in a child made by fork() of a program that
/// has workers.
session_page& session();
/// The page if there is one.
session_page* session_if_made() noexcept;
/// Of this session; no two have the same. Errors: as session().
std::uint64_t session_id();
/// For those who hand it on; -1 if this process has none, which is so in workers.
int session_descriptor() noexcept;

// ---- processes ----------------------------------------------------------------------------------------------------
/// A handle for a process that is about to start; 0 if there are too many. Never throws; needs a session.
std::uint32_t take_process(std::uint32_t domain) noexcept;
/// It was not started, or it has ended: what its participants held is another's from now on. Any number of times, by
/// any process that saw its end.
void process_ended(std::uint32_t handle) noexcept;
/// A fork server has ended, and all that it started.
void domain_ended(std::uint32_t domain) noexcept;
/// From now on this process is the one with the handle at that place, which stays there. Its only thread is nobody yet.
[[gnu::hot]] void be_process(const std::uint32_t& handle) noexcept;
/// The handle that this program was made with: of its own, or as a fresh image. Errors: as session().
std::uint32_t program_handle();
/// The domain of this process, and so of the copies that it makes of itself.
std::uint32_t this_domain() noexcept;
/// The process is about to end in order: the calling thread ends, others may hold something.
[[gnu::hot]] void leave() noexcept;
/// In the environment of a fresh image of the program: the descriptor of the page, its handle, and the version.
constexpr const char* session_variable = "TANDEM_SESSION";
constexpr std::uint32_t session_version = 1;  // of the layout of the page

// ---- participants -------------------------------------------------------------------------------------------------
/// The id of the calling thread. Errors: as session(); resource_exhausted if there are too many.
std::uint32_t enroll();
/// The id of the process as a whole, for what is not of one thread. Errors: as enroll().
std::uint32_t enroll_process();
/// The same; 0 if it has none.
std::uint32_t process_as_a_whole() noexcept;
/// How many places this process holds as a whole (a message under way): if it ends with any, the others are told.
extern constinit std::atomic<int> places_held;
/// It is a thread of this process, or the process as a whole, and lives. False in a child made by fork().
bool is_of_this_process(std::uint32_t id) noexcept;
/// False once the participant has ended or was killed, and for what was never an id.
bool is_live(std::uint32_t id) noexcept;
/// It was killed, as opposed to having ended in order.
bool was_killed(std::uint32_t id) noexcept;
/// Moves the epoch and wakes all that wait.
void tell_death(session_page&) noexcept;

/// The word that the calling thread watches for deaths.
std::atomic<std::uint32_t>& own_epoch() noexcept;

/// How many turns a waiter spins before it sleeps.
unsigned spin_turns() noexcept;
/// How long it does where whom it waits for is known to run on another CPU: as long as a wake would take. Also of a thread
/// that may run on one CPU alone: the other one does not.
std::chrono::microseconds spin_time_of_a_wake() noexcept;

/// Frees what claims an entry has, of a participant that ends in order. False if one of them is still in force.
bool drop_claims(session_page&, std::uint32_t id) noexcept;

}  // namespace tandem::sync
