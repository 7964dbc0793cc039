#include "sync/session.hpp"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <tandem/error.hpp>
#include <tandem/file_descriptor.hpp>

#include "os/faults.hpp"
#include "os/kernel.hpp"
#include "sync/environment.hpp"
#include "sync/epoch_algorithm.hpp"
#include "sync/table.hpp"

namespace tandem {

constinit thread_local detail::lock_identity detail::this_thread{0, 0};

namespace sync {

constinit thread_local spin_credit spinning{0, 0, false, false};
constinit std::atomic<int> places_held{0};

namespace {

constexpr std::uint32_t state_bits = 2;
constexpr std::uint32_t state_mask = (1U << state_bits) - 1;
constexpr std::uint32_t generation_mask = (1U << 15) - 1;

// All plain: none may be gone while a thread still ends.
std::atomic<session_page*> page{nullptr};
std::mutex making;
int descriptor = -1;
std::uint32_t first_process = 0;                   // the handle of the program itself
const std::uint32_t* own_handle = &first_process;  // where the handle of this process stands
std::atomic<std::uint64_t> enrolled{0};            // the handle of the process, and how many of its threads are
std::atomic<std::uint64_t> enrolled_process{0};    // the handle of the process, and its id as a whole
pthread_key_t end_of_thread;
bool watching = false;

template <class State>
constexpr std::uint32_t word_of(std::uint32_t generation, State state) noexcept {
  return ((generation & generation_mask) << state_bits) | static_cast<std::uint32_t>(state);
}
constexpr std::uint32_t generation_of(std::uint32_t word) noexcept { return (word >> state_bits) & generation_mask; }
template <class State>
constexpr bool is(std::uint32_t word, State state) noexcept {
  return (word & state_mask) == static_cast<std::uint32_t>(state);
}
// An id and a handle alike: the index of an entry, and for the how many-th time it is used.
constexpr std::uint32_t name_of(std::uint32_t generation, std::uint32_t index) noexcept {
  return ((generation & generation_mask) << participant_bits) | index;
}
constexpr std::uint32_t index_of(std::uint32_t name) noexcept { return name & participant_mask; }
constexpr std::uint32_t name_generation(std::uint32_t name) noexcept {
  return (name >> participant_bits) & generation_mask;
}

// ---- the end of a thread ------------------------------------------------------------------------------------------

// How many threads of this process are enrolled, one more or less. The handle beside the number tells a process from the
// one that it is a copy of.
std::uint32_t count_enrolled(std::uint32_t handle, int change) noexcept {
  std::uint64_t seen = enrolled.load(std::memory_order_relaxed);
  for (;;) {
    const std::uint32_t before = (seen >> 32) == handle ? static_cast<std::uint32_t>(seen) : 0;
    const std::uint32_t after = before + static_cast<std::uint32_t>(change);
    if (enrolled.compare_exchange_weak(seen, (std::uint64_t{handle} << 32) | after, std::memory_order_acq_rel))
      return after;
  }
}

// True if nothing is left that names it, and another may have its entry.
bool free_participant(session_page& p, std::uint32_t id) noexcept {
  if (!drop_claims(p, id)) return false;
  participant& entry = p.participants[index_of(id)];
  entry.state.store(word_of(name_generation(id) + 1, entry_state::unused), std::memory_order_release);
  entry.process.store(0, std::memory_order_release);  // last: now it can be taken
  freed_entry(p.participant_marks, index_of(id));
  return true;
}

// It is nobody any more. What it holds, another may have.
void end_this_thread() noexcept {
  detail::lock_identity& self = detail::this_thread;
  const std::uint32_t id = self.id;
  session_page* const p = page.load(std::memory_order_acquire);
  if (id == 0 || p == nullptr) return;
  const bool holds = self.held != 0;
  self = {0, 0};
  if (!holds && free_participant(*p, id)) return;
  drop_claims(*p, id);
  p->participants[index_of(id)].state.store(word_of(name_generation(id), entry_state::ended),
                                            std::memory_order_release);
  tell_death(*p);
}

void at_end_of_thread(void*) {
  if (detail::this_thread.id == 0) return;
  end_this_thread();
  count_enrolled(*own_handle, -1);
}

bool is_copy() noexcept {
  const os::role role = os::current_role();
  return role == os::role::copied || role == os::role::detached;
}

[[gnu::hot]] void in_forked_child() {
  // There, and nowhere else: whatever becomes of a clone of ours, it says so in that word. A second one would lie in a page
  // that each start copies.
  if (os::current_role() != os::role::detached) os::set_role(os::role::copied);
  if (detail::this_thread.id != 0) detail::this_thread = {0, 0};
}

// ---- the page -----------------------------------------------------------------------------------------------------

session_page& map_page(int fd) {
  // SAFETY: of that size, sealed, page-aligned; zeroes are valid objects of all that is in it.
  auto* mapped = static_cast<session_page*>(os::map(fd, 0, sizeof(session_page)));
  if (mapped == nullptr) os::throw_failed("mmap", errno);
  return *mapped;
}

std::uint32_t take_process_of(session_page& p, std::uint32_t domain) noexcept {
  std::uint32_t generation = 0;
  const std::uint32_t index = find_entry(p.process_marks, participant_count, [&](std::uint32_t i) {
    std::uint32_t seen = p.processes[i].state.load(std::memory_order_relaxed);
    generation = generation_of(seen);
    return is(seen, process_state::unused) &&
           p.processes[i].state.compare_exchange_strong(seen, word_of(generation, process_state::started),
                                                        std::memory_order_acq_rel);
  });
  if (index == 0) return 0;
  p.processes[index].domain.store(domain, std::memory_order_release);
  return name_of(generation, index);
}

[[noreturn]] void throw_stray_variable() {
  throw tandem::error(std::string("tandem: the environment variable ") + session_variable +
                      " is set, but not by tandem: unset it");
}

// This process was started as a fresh image of the program, and given the page.
void take_over(std::string_view given) {
  int fd = -1;
  std::uint32_t handle = 0;
  const char* const end = given.data() + given.size();
  const auto [comma, bad_fd] = std::from_chars(given.data(), end, fd);
  if (bad_fd != std::errc() || comma == end) throw_stray_variable();
  const auto [after, bad_handle] = std::from_chars(comma + 1, end, handle);
  if (bad_handle != std::errc()) throw_stray_variable();
  // Not from the page, in which any worker can write.
  std::uint32_t version = 0;
  if (after == end || std::from_chars(after + 1, end, version).ptr != end || version != session_version)
    throw unsupported("tandem: this process was started by a program with another version of tandem: build both anew");
  if (!os::sealed_at(fd, sizeof(session_page))) throw_stray_variable();
  os::unset_variable(session_variable);
  const file_descriptor owned(fd);
  session_page& p = map_page(fd);
  first_process = handle;
  page.store(&p, std::memory_order_release);  // last: other threads go on with it at once
}

void make_page() {
  file_descriptor file(
      static_cast<int>(os::check(os::anonymous_file("tandem session", sizeof(session_page)), "memfd_create")));
  // The first pages of each table; an exhausted machine says so here. What is beyond them is for programs of hundreds of
  // threads.
  constexpr std::size_t first_pages = 8192;
  for (const std::size_t offset : {std::size_t{0}, offsetof(session_page, participants),
                                   offsetof(session_page, processes), offsetof(session_page, claims)}) {
    os::check(os::reserve(file.get(), offset, first_pages), "fallocate");
  }
  std::uint64_t id = 0;
  os::check(os::random_bytes(std::as_writable_bytes(std::span(&id, 1))), "getrandom");
  session_page& p = map_page(file.get());
  p.id = id;
  descriptor = file.release();
  first_process = take_process_of(p, 0);
  page.store(&p, std::memory_order_release);  // last: other threads go on with it at once
}

session_page& make() {
  const std::lock_guard lock(making);
  if (is_copy()) {
    if (os::current_role() == os::role::detached) {
      throw not_initialised(
          "tandem: this process is a copy that fork() made of one that uses tandem; it cannot use locks of tandem, "
          "since "
          "nobody would learn of its death. Start it with tandem::process, or exec a program that calls "
          "tandem::init().");
    }
    // The original has no workers: this is a program of its own.
    page.store(nullptr, std::memory_order_relaxed);
    os::close(descriptor);
    descriptor = -1;
    own_handle = &first_process;
    os::set_role(os::role::host);
  }
  if (session_page* made = page.load(std::memory_order_acquire)) return *made;
  if (!watching) {
    os::check(os::make_thread_key(end_of_thread, at_end_of_thread), "pthread_key_create");
    os::check(os::call_in_children(in_forked_child), "pthread_atfork");
    watching = true;
  }
  if (const char* given = os::variable(session_variable)) {
    take_over(given);
  } else {
    make_page();
  }
  return *page.load(std::memory_order_relaxed);
}

}  // namespace

session_page& session() {
  session_page* const made = page.load(std::memory_order_acquire);
  if (made != nullptr && !is_copy()) return *made;
  return make();
}

session_page* session_if_made() noexcept { return page.load(std::memory_order_acquire); }

std::uint64_t session_id() { return session().id; }

int session_descriptor() noexcept {
  return descriptor >= 0 && os::sealed_at(descriptor, sizeof(session_page)) ? descriptor : -1;
}

// ---- processes ----------------------------------------------------------------------------------------------------

std::uint32_t take_process(std::uint32_t domain) noexcept {
  session_page* const p = page.load(std::memory_order_acquire);
  return p == nullptr ? 0 : take_process_of(*p, domain);
}

void process_ended(std::uint32_t handle) noexcept {
  session_page* const p = page.load(std::memory_order_acquire);
  if (p == nullptr || handle == 0) return;
  process_record& record = p->processes[index_of(handle)];
  std::uint32_t seen = record.state.load(std::memory_order_acquire);
  if (generation_of(seen) != name_generation(handle) || is(seen, process_state::unused)) return;  // told before
  if (!is(seen, process_state::started)) {
    const entry_state become = is(seen, process_state::leaving) ? entry_state::ended : entry_state::killed;
    bool any = false;
    const std::uint32_t used = used_of(p->participant_marks, participant_count);
    for (std::uint32_t i = 1; i < used; ++i) {
      participant& entry = p->participants[i];
      if (entry.process.load(std::memory_order_acquire) != handle) continue;
      std::uint32_t state = entry.state.load(std::memory_order_acquire);
      if (is(state, entry_state::unused)) {  // killed while it was being enrolled: nothing names it
        entry.process.store(0, std::memory_order_release);
      } else {
        if (is(state, entry_state::live)) {
          entry.state.compare_exchange_strong(state, word_of(generation_of(state), become), std::memory_order_acq_rel);
        }
        any = true;  // also if it is marked: whoever did that may have been killed before it told
      }
    }
    death_point("death.marked");
    if (any) tell_death(*p);
  }
  // Two may come here, both having marked all: one frees it.
  if (record.state.compare_exchange_strong(seen, word_of(generation_of(seen) + 1, process_state::unused),
                                           std::memory_order_acq_rel)) {
    freed_entry(p->process_marks, index_of(handle));
  }
}

void domain_ended(std::uint32_t domain) noexcept {
  session_page* const p = page.load(std::memory_order_acquire);
  if (p == nullptr || domain == 0) return;
  const std::uint32_t used = used_of(p->process_marks, participant_count);
  for (std::uint32_t i = 1; i < used; ++i) {
    const std::uint32_t state = p->processes[i].state.load(std::memory_order_acquire);
    if (is(state, process_state::unused) || p->processes[i].domain.load(std::memory_order_acquire) != domain) continue;
    process_ended(name_of(generation_of(state), i));
  }
}

void be_process(const std::uint32_t& handle) noexcept {
  // Written only where it changes: a fresh clone has none of these pages to itself.
  if (own_handle != &handle) own_handle = &handle;
  if (detail::this_thread.id != 0) detail::this_thread = {0, 0};
}

std::uint32_t program_handle() {
  session();
  return first_process;
}

std::uint32_t this_domain() noexcept {
  const session_page* const p = page.load(std::memory_order_acquire);
  return p == nullptr ? 0 : p->processes[index_of(*own_handle)].domain.load(std::memory_order_acquire);
}

void leave() noexcept {
  const std::uint32_t handle = *own_handle;
  if (detail::this_thread.id == 0 && (enrolled.load(std::memory_order_relaxed) >> 32) != handle &&
      (enrolled_process.load(std::memory_order_relaxed) >> 32) != handle) {
    return;
  }
  session_page* const p = page.load(std::memory_order_acquire);
  if (p == nullptr || handle == 0 || is_copy()) return;
  const bool counted = detail::this_thread.id != 0;
  end_this_thread();
  const std::uint64_t whole = enrolled_process.load(std::memory_order_acquire);
  if ((whole >> 32) == handle) {
    free_participant(*p, static_cast<std::uint32_t>(whole));
    // What it has begun and will not end is another's to clear away; other threads may be in the midst of something.
    if (places_held.load(std::memory_order_relaxed) != 0 || !os::is_only_thread()) tell_death(*p);
  }
  const std::uint32_t left = count_enrolled(handle, counted ? -1 : 0);
  // Nothing of it is left to be marked by whoever sees its end, or what is left ended in order.
  process_record& record = p->processes[index_of(handle)];
  record.state.store(word_of(name_generation(handle), left == 0 ? process_state::started : process_state::leaving),
                     std::memory_order_release);
}

// ---- participants -------------------------------------------------------------------------------------------------

namespace {

std::uint32_t take_participant(session_page& p, std::uint32_t handle) noexcept {
  return find_entry(p.participant_marks, participant_count, [&](std::uint32_t i) {
    std::uint32_t nobody = 0;
    return p.participants[i].process.load(std::memory_order_relaxed) == 0 &&
           p.participants[i].process.compare_exchange_strong(nobody, handle, std::memory_order_acq_rel);
  });
}

// The table is full: the entry of one that died, from the hint on, which goes round. What it held may name it still.
std::uint32_t take_from_the_dead(session_page& p, std::uint32_t handle) noexcept {
  return find_entry(p.participant_marks, participant_count, [&](std::uint32_t i) {
    participant& entry = p.participants[i];
    std::uint32_t state = entry.state.load(std::memory_order_acquire);
    if (is(state, entry_state::live) || is(state, entry_state::unused)) return false;
    if (!entry.state.compare_exchange_strong(state, word_of(generation_of(state) + 1, entry_state::unused),
                                             std::memory_order_acq_rel)) {
      return false;
    }
    entry.process.store(handle, std::memory_order_release);
    return true;
  });
}

}  // namespace

namespace {

// An entry of this process. Errors: as enroll().
std::uint32_t new_participant(session_page& p, std::uint32_t handle) {
  process_record& record = p.processes[index_of(handle)];
  std::uint32_t started = word_of(name_generation(handle), process_state::started);
  if (handle != 0) {  // first: whoever sees the end of this process looks for entries only then
    record.state.compare_exchange_strong(started, word_of(name_generation(handle), process_state::used),
                                         std::memory_order_acq_rel);
  }
  std::uint32_t index = handle == 0 ? 0 : take_participant(p, handle);
  if (index == 0 && handle != 0) index = take_from_the_dead(p, handle);
  if (index == 0) {
    os::throw_failed("tandem: locks", EAGAIN,
                     handle == 0 ? "too many processes at once for locks; join some first"
                                 : "too many threads use locks at once; join some first");
  }
  participant& entry = p.participants[index];
  const std::uint32_t generation = generation_of(entry.state.load(std::memory_order_acquire));
  entry.state.store(word_of(generation, entry_state::live), std::memory_order_release);
  return name_of(generation, index);
}

}  // namespace

std::uint32_t enroll() {
  detail::lock_identity& self = detail::this_thread;
  session_page& p = session();
  if (self.id != 0) return self.id;
  const std::uint32_t handle = *own_handle;
  self = {new_participant(p, handle), 0};
  count_enrolled(handle, 1);
  os::set_thread_key(end_of_thread, &p);
  return self.id;
}

std::uint32_t process_as_a_whole() noexcept {
  const std::uint64_t seen = enrolled_process.load(std::memory_order_acquire);
  return *own_handle != 0 && (seen >> 32) == *own_handle ? static_cast<std::uint32_t>(seen) : 0;
}

std::uint32_t enroll_process() {
  session_page& p = session();
  const std::uint32_t handle = *own_handle;
  std::uint64_t seen = enrolled_process.load(std::memory_order_acquire);
  if ((seen >> 32) == handle) return static_cast<std::uint32_t>(seen);
  const std::uint32_t id = new_participant(p, handle);
  if (enrolled_process.compare_exchange_strong(seen, (std::uint64_t{handle} << 32) | id)) return id;
  free_participant(p, id);  // another thread was faster
  return static_cast<std::uint32_t>(seen);
}

namespace {

std::uint32_t state_of(std::uint32_t id) noexcept {
  const session_page* const p = page.load(std::memory_order_acquire);
  return p == nullptr ? 0 : p->participants[index_of(id)].state.load(std::memory_order_acquire);
}

}  // namespace

bool is_live(std::uint32_t id) noexcept { return state_of(id) == word_of(name_generation(id), entry_state::live); }

bool was_killed(std::uint32_t id) noexcept { return state_of(id) == word_of(name_generation(id), entry_state::killed); }

bool is_of_this_process(std::uint32_t id) noexcept {
  return id != 0 && !is_copy() && is_live(id) &&
         session_if_made()->participants[index_of(id)].process.load(std::memory_order_acquire) == *own_handle;
}

void tell_death(session_page& p) noexcept {
  p.deaths.fetch_add(1, std::memory_order_seq_cst);
  for (auto& line : p.epochs) move_epoch(line.epoch, os::futex_wake_all);
}

std::atomic<std::uint32_t>& own_epoch() noexcept {
  return page.load(std::memory_order_acquire)->epochs[detail::this_thread.id % epoch_count].epoch;
}

namespace {

std::optional<unsigned> spin_microseconds_told() noexcept {
  const char* const asked = os::variable("TANDEM_SPIN_US");
  if (asked == nullptr) return std::nullopt;
  unsigned microseconds = 0;
  const char* const end = asked + std::strlen(asked);
  const auto [after, failed] = std::from_chars(asked, end, microseconds);
  if (failed != std::errc() || after != end) return std::nullopt;
  return std::min(microseconds, 1000U);
}

}  // namespace

unsigned spin_turns() noexcept {
  constexpr unsigned usual = 100;
  constexpr unsigned per_microsecond = 25;
  static const unsigned turns = [] {
    if (os::allowed_cpus() == 1) return 0U;
    const auto told = spin_microseconds_told();
    return told ? *told * per_microsecond : usual;
  }();
  return turns;
}

std::chrono::microseconds spin_time_of_a_wake() noexcept {
  static const std::chrono::microseconds time(spin_microseconds_told().value_or(50));
  return time;
}

}  // namespace sync
}  // namespace tandem
