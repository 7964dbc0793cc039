#include "channel/queue_core.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

#include <tandem/detail/sync_memory.hpp>
#include <tandem/error.hpp>

#include "channel/waiting.hpp"
#include "os/kernel.hpp"
#include "sync/memory_claims.hpp"

namespace tandem::detail {

using channel::claim_end;
using channel::slot_state;
using channel::wait_end;
using sync::environment;

namespace {

// Who a place in the queue belongs to: the process as a whole, so that a place may go from thread to thread.
std::uint32_t self_id() {
  const std::uint32_t known = sync::process_as_a_whole();
  return known != 0 ? known : sync::enroll_process();
}

[[noreturn]] void throw_closed_to_pushers() {
  throw closed("tandem: push into a queue that was closed: nothing was pushed");
}
[[noreturn]] void throw_pushers_killed() {
  throw closed(
      "tandem: all messages of this queue were popped, and there will be no more: the last process that pushed was "
      "killed");
}
[[noreturn]] void throw_overwritten() {
  throw decode_error("tandem: the memory of a queue was written over by one of the processes that share it");
}

std::uint32_t this_cpu() noexcept { return os::current_cpu() + 1; }

}  // namespace

segment_shape queue_core::shape_of(const channel::queue_layout& l) noexcept {
  return {segment_kind::queue, 1, l.total, true};
}

channel::ring_words<queue_core::env>& queue_core::words() const noexcept {
  // SAFETY: the memory begins with them; it was made of zeros, which they may be, and whatever else its bytes are, they are
  // numbers.
  return *static_cast<channel::ring_words<env>*>(memory_.address());
}

queue_core::queue_core(const queue_form& form)
    : form_(form),
      layout_(channel::layout_of(form)),
      memory_(shape_of(layout_), memory_options{}),
      ring_(words(), at(layout_.slots), {layout_.stride, layout_.count, layout_.limit, form.flat_bytes == 0}),
      arena_(ring_, layout_.arena_bytes),
      number_(new_memory_number()) {
  words().number = number_;
}

queue_core::queue_core(const queue_form& form, segment_parcel parcel)
    : form_(form),
      layout_(channel::layout_of(form)),
      memory_(shape_of(layout_), std::move(parcel)),
      ring_(words(), at(layout_.slots), {layout_.stride, layout_.count, layout_.limit, form.flat_bytes == 0}),
      arena_(ring_, layout_.arena_bytes),
      number_(words().number) {}

std::byte* queue_core::payload(std::uint64_t position) const noexcept {
  return reinterpret_cast<std::byte*>(&ring_.slot(position)) + layout_.payload;
}

// ---- waiting --------------------------------------------------------------------------------------------------------

// True once `attempt()` is. Spins for no longer than a wake would take, and less after spins that were in vain: whom it
// waits for may be one of many who share a CPU, and this one then only takes it away from them. Now and then a full one is
// tried, since two that sleep for each other would never find out that they need not.
template <class Attempt>
bool queue_core::spin_for(spin_record& record, Attempt& attempt, clock::time_point deadline) {
  // Whoever was last seen on this CPU cannot go on while this thread spins.
  const auto runs_elsewhere = [&] {
    const std::uint32_t last = record.peer_cpu.load(std::memory_order_relaxed);
    return last != 0 && last != this_cpu();
  };
  const std::chrono::nanoseconds most = sync::spin_time_of_a_wake();
  if (most.count() == 0 || !runs_elsewhere()) return false;
  constexpr std::uint32_t most_halvings = 4, short_ones_in_turn = 16;
  const std::uint32_t halvings = record.halvings.load(std::memory_order_relaxed);
  const bool is_short =
      halvings != 0 && record.short_ones.fetch_add(1, std::memory_order_relaxed) % short_ones_in_turn != 0;
  const auto learn = [&](std::uint32_t after) {
    if (after != halvings) record.halvings.store(after, std::memory_order_relaxed);
  };
  constexpr unsigned look_again = 16;
  clock::time_point begin{};
  for (unsigned turn = 1;; ++turn) {
    env::spin();
    if (attempt()) {
      learn(is_short ? halvings - 1 : 0);
      return true;
    }
    if (turn % look_again != 0) continue;
    const clock::time_point now = clock::now();
    if (turn == look_again) begin = now;
    if (now >= deadline || now - begin >= (is_short ? most / (1U << halvings) : most) || !runs_elsewhere()) break;
  }
  learn(std::min(halvings + 1, most_halvings));
  return false;
}

// True once `attempt()` is; false at the deadline. Errors: cancelled.
template <class Attempt>
bool queue_core::wait_for(std::atomic<std::uint64_t>& happening, spin_record& record, Attempt& attempt,
                          clock::time_point deadline, const std::stop_token* token, claimed& c) {
  if (spin_for(record, attempt, deadline)) return true;
  c.slept = true;
  const auto is_cancelled = [&] { return token != nullptr && token->stop_requested(); };
  const auto wait = [&] { return channel::await<env>(happening, deadline, attempt, is_cancelled); };
  wait_end end = wait_end::done;
  if (token != nullptr) {
    const std::stop_callback wakes(*token, [&] { channel::wake_all<env>(happening); });
    end = wait();
  } else {
    end = wait();
  }
  if (end == wait_end::cancelled) throw cancelled("tandem: a stop was requested while a queue was waited for");
  return end == wait_end::done;
}

// What will most likely be written is on its way while the rest is looked at.
void queue_core::want_next_slot() const noexcept {
  constexpr std::size_t line = 64, most_lines = 3;
  const auto* const slot =
      reinterpret_cast<const std::byte*>(&ring_.slot(words().tail.load(std::memory_order_relaxed)));
  for (std::size_t i = 0; i < std::min(layout_.stride / line, most_lines); ++i) os::want_to_write(slot + i * line);
}

queue_core::claimed queue_core::claim_push(std::size_t size, clock::time_point deadline, const std::stop_token* token) {
  if (size > layout_.most_bytes) {
    throw std::length_error("tandem: a message of " + std::to_string(size) + " bytes for a queue of " +
                            std::to_string(layout_.most_bytes) + ": give it more by queue_options::bytes");
  }
  if (token != nullptr && token->stop_requested()) throw cancelled("tandem: a stop was requested: nothing was pushed");
  const std::uint32_t self = self_id();
  be_pusher(self);
  want_next_slot();
  claimed c;
  const auto attempt = [&] {
    c.end = form_.flat_bytes != 0 ? ring_.claim_push(self, c.position, [](std::uint64_t) { return true; })
                                  : arena_.claim_push(self, c.position, size, deadline);
    return c.end != claim_end::none;
  };
  if (!attempt() && (deadline == os::now || !wait_for(words().room, for_room_, attempt, deadline, token, c))) return c;
  if (c.end == claim_end::ended) throw_closed_to_pushers();
  for_room_.saw(ring_.slot(c.position).cpu.load(std::memory_order_relaxed));
  return c;
}

claim_end queue_core::try_pop_claim(std::uint32_t self, std::uint64_t& position) {
  const claim_end end = ring_.claim_pop(self, position);
  if (end != claim_end::none || !pushers_were_killed()) return end;
  const claim_end again = ring_.claim_pop(self, position);  // what they pushed last
  if (again == claim_end::none) throw_pushers_killed();
  return again;
}

queue_core::claimed queue_core::claim_pop(clock::time_point deadline, const std::stop_token* token) {
  if (token != nullptr && token->stop_requested()) throw cancelled("tandem: a stop was requested: nothing was popped");
  const std::uint32_t self = self_id();
  channel::hand<env>& hand = own_hand(self);
  claimed c;
  const auto attempt = [&] {
    c.end = try_pop_claim(self, c.position);
    return c.end != claim_end::none;
  };
  if (!attempt() && (deadline == os::now || !wait_for(words().items, for_items_, attempt, deadline, token, c)))
    return c;
  if (c.end == claim_end::taken) {
    for_items_.saw(ring_.slot(c.position).cpu.load(std::memory_order_relaxed));
    hand.count.fetch_add(1, std::memory_order_relaxed);
  }
  return c;
}

// After a push. What it slept for may be there for another too, whose wake it was that came too early.
void queue_core::committed(const claimed& c) {
  env::step("push.written");
  ring_.slot(c.position).cpu.store(this_cpu(), std::memory_order_relaxed);
  if (!ring_.commit(c.position, self_id())) throw_overwritten();
  env::step("push.committed");
  channel::wake_one<env>(words().items);
  env::step("push.woke");
  if (c.slept) channel::wake_one<env>(words().room);
}

void queue_core::released(const claimed& c) {
  env::step("pop.copied");
  ring_.slot(c.position).cpu.store(this_cpu(), std::memory_order_relaxed);
  ring_.release(c.position, self_id());
  env::step("pop.released");
  ring_.wake_for_room();
  env::step("pop.woke");
  if (c.slept && ring_.is_next_there()) channel::wake_one<env>(words().items);
}

// ---- messages -------------------------------------------------------------------------------------------------------

bool queue_core::push(const outgoing& m, clock::time_point deadline, const std::stop_token* token) {
  const std::size_t size = form_.flat_bytes != 0 ? form_.flat_bytes : m.head.size() + m.body.size();
  const claimed c = claim_push(size, deadline, token);
  if (c.end == claim_end::none) return false;
  if (form_.flat_bytes != 0) {
    std::memcpy(payload(c.position), m.head.data(), form_.flat_bytes);
  } else {
    write_placed(c.position, m);
  }
  committed(c);
  return true;
}

void queue_core::write_placed(std::uint64_t position, const outgoing& m) {
  auto& slot = arena_.slot(position);
  std::uint64_t to = slot.start.load(std::memory_order_relaxed);
  const bool is_small = m.head.size() + m.body.size() <= sizeof slot.small;
  std::byte* small = slot.small;
  for (std::span<const std::byte> part : {m.head, m.body}) {
    while (!part.empty()) {
      const std::size_t offset = is_small ? 0 : to % layout_.arena_bytes;
      const std::size_t size = is_small ? part.size() : std::min(part.size(), layout_.arena_bytes - offset);
      std::memcpy(is_small ? small : at(layout_.arena + offset), part.data(), size);
      small += is_small ? size : 0;
      to += size;
      part = part.subspan(size);
    }
  }
}

arrival queue_core::pop_flat(void* into, clock::time_point deadline, const std::stop_token* token) {
  const claimed c = claim_pop(deadline, token);
  if (c.end != claim_end::taken) return c.end == claim_end::none ? arrival::none : arrival::closed;
  std::memcpy(into, payload(c.position), form_.flat_bytes);
  released(c);
  return arrival::message;
}

arrival queue_core::pop(sink& into, clock::time_point deadline, const std::stop_token* token) {
  const claimed c = claim_pop(deadline, token);
  if (c.end != claim_end::taken) return c.end == claim_end::none ? arrival::none : arrival::closed;
  read_placed(c, into);
  return arrival::message;
}

// What is decoded is a copy: nobody can change it any more.
void queue_core::read_placed(const claimed& c, sink& into) {
  auto& slot = arena_.slot(c.position);
  const std::uint64_t start = slot.start.load(std::memory_order_relaxed);
  const std::uint64_t size = slot.size.load(std::memory_order_relaxed);
  if (size > sizeof slot.small) return read_arena(c, into, start, size);
  std::byte copy[sizeof slot.small];
  std::memcpy(copy, slot.small, sizeof copy);
  released(c);
  into.whole(std::span(copy, size));
}

void queue_core::read_arena(const claimed& c, sink& into, std::uint64_t start, std::uint64_t size) {
  struct in_any_case {
    queue_core& core;
    const claimed& c;
    bool done = false;
    void release() {
      done = true;
      core.released(c);
    }
    ~in_any_case() {
      if (!done) core.released(c);
    }
  } slot{*this, c};
  if (size > layout_.most_bytes) throw_overwritten();
  for (std::size_t filled = 0; filled < size;) {
    const std::span<std::byte> room = into.room(size, filled);
    const std::size_t offset = (start + filled) % layout_.arena_bytes;
    const std::size_t piece = std::min({room.size(), size - filled, layout_.arena_bytes - offset});
    std::memcpy(room.data(), at(layout_.arena + offset), piece);
    filled += piece;
  }
  slot.release();
  into.filled();
}

// ---- in place -------------------------------------------------------------------------------------------------------

queue_place queue_core::begin_push(clock::time_point deadline) {
  const claimed c = claim_push(form_.flat_bytes, deadline, nullptr);
  if (c.end == claim_end::none) return {};
  sync::places_held.fetch_add(1, std::memory_order_relaxed);
  return {payload(c.position), c.position};
}

void queue_core::finish_push(std::uint64_t position) {
  sync::places_held.fetch_sub(1, std::memory_order_relaxed);
  committed({claim_end::taken, position, true});
}

void queue_core::abandon_push(std::uint64_t position) noexcept {
  sync::places_held.fetch_sub(1, std::memory_order_relaxed);
  ring_.withdraw(position, sync::process_as_a_whole());
  ring_.wake_everybody();
}

queue_place queue_core::begin_pop(arrival& came, clock::time_point deadline) {
  const claimed c = claim_pop(deadline, nullptr);
  came = c.end == claim_end::taken ? arrival::message : c.end == claim_end::none ? arrival::none : arrival::closed;
  if (c.end != claim_end::taken) return {};
  sync::places_held.fetch_add(1, std::memory_order_relaxed);
  return {payload(c.position), c.position};
}

void queue_core::finish_pop(std::uint64_t position) noexcept {
  sync::places_held.fetch_sub(1, std::memory_order_relaxed);
  released({claim_end::taken, position, true});
}

// ---- who takes part ---------------------------------------------------------------------------------------------------

void queue_core::be_pusher(std::uint32_t self) {
  const std::uint32_t deaths = env::deaths();
  if (pusher_.load(std::memory_order_relaxed) == self) {
    // While it lives, whoever was killed before is not the last one.
    if (deaths_seen_.load(std::memory_order_relaxed) != deaths) {
      deaths_seen_.store(deaths, std::memory_order_relaxed);
      sync::end_of_parties(number_);
    }
    return;
  }
  if (const std::uint32_t claim = sync::join_party(self, number_))
    sync::keep_with_memory(memory_.address(), claim, number_);
  env::step("push.joined");
  sync::end_of_parties(number_);
  pusher_.store(self, std::memory_order_relaxed);
}

bool queue_core::pushers_were_killed() {
  const std::uint32_t deaths = env::deaths();
  if (deaths_seen_.load(std::memory_order_relaxed) == deaths) return false;
  if (sync::end_of_parties(number_) == sync::party_end::killed) return true;
  deaths_seen_.store(deaths, std::memory_order_relaxed);
  return false;
}

void queue_core::close() {
  sync::session();
  ring_.close();
}

std::size_t queue_core::size() const noexcept {
  const std::uint64_t h = words().head.load(std::memory_order_acquire);
  const std::uint64_t t = words().tail.load(std::memory_order_acquire);
  return std::min(t > h ? t - h : 0, form_.capacity);
}

void queue_core::bury_all() {
  ring_.finish_burials();
  for (std::uint64_t i = 0; i < layout_.count; ++i)
    ring_.bury_if_dead(i, ring_.slot(i).word.load(std::memory_order_acquire));
}

queue_stats queue_core::stats() {
  bury_all();
  ring_.ready();  // moves on a head that a dead one left behind
  std::uint64_t writing = 0, reading = 0, passed_soon = 0;
  for (std::uint64_t i = 0; i < layout_.count; ++i) {
    const slot_state s = channel::state_of(ring_.slot(i).word.load(std::memory_order_acquire));
    writing += s == slot_state::writing ? 1 : 0;
    reading += s == slot_state::reading ? 1 : 0;
    passed_soon += s == slot_state::torn || s == slot_state::withdrawn ? 1 : 0;
  }
  const auto of = [](const std::atomic<std::uint64_t>& n) { return n.load(std::memory_order_acquire); };
  channel::ring_words<env>& w = words();
  const std::uint64_t torn = of(w.torn), lost = of(w.lost), passed = torn + of(w.withdrawn) - passed_soon;
  // A peer may have written anything: then these are numbers without a meaning.
  return {ring_.taken() - torn - of(w.withdrawn) - writing, of(w.head) - passed - lost - reading, torn, lost};
}

// ---- join -----------------------------------------------------------------------------------------------------------

channel::hand<queue_core::env>& queue_core::own_hand(std::uint32_t self) {
  const std::uint64_t known = own_hand_.load(std::memory_order_relaxed);
  if ((known >> 32) == self) return words().hand_at(known & 0xFFFF);
  const std::uint64_t index = take_hand(self);
  own_hand_.store((std::uint64_t{self} << 32) | index, std::memory_order_relaxed);
  return words().hand_at(index);
}

std::uint64_t queue_core::take_hand(std::uint32_t self) {
  channel::ring_words<env>& w = words();
  const std::uint64_t in_use =
      std::min<std::uint64_t>(w.hands_used.load(std::memory_order_seq_cst), channel::hand_count);
  for (std::uint64_t i = 0; i < in_use; ++i) {
    if (w.hand_at(i).owner.load(std::memory_order_acquire) == self) return i;
  }
  for (std::uint64_t i = 0; i < channel::hand_count; ++i) {
    channel::hand<env>& hand = w.hand_at(i);
    std::uint64_t owner = hand.owner.load(std::memory_order_acquire);
    if (owner != 0 && env::alive(static_cast<std::uint32_t>(owner))) continue;
    if (!hand.owner.compare_exchange_strong(owner, self, std::memory_order_acq_rel)) continue;
    const std::uint64_t left = hand.count.exchange(0, std::memory_order_acq_rel);
    if (owner != 0 && env::killed(static_cast<std::uint32_t>(owner))) w.done.fetch_add(left);
    // Before anything is in it: those who look for what the dead had go as far as this says.
    std::uint64_t used = w.hands_used.load(std::memory_order_relaxed);
    while (used < i + 1 && !w.hands_used.compare_exchange_weak(used, i + 1, std::memory_order_seq_cst)) {
    }
    return i;
  }
  os::throw_failed("tandem: queue", EAGAIN,
                   "more than " + std::to_string(channel::hand_count) +
                       " processes pop from one queue at once: nothing was popped; let some end first");
}

std::uint64_t queue_core::unfinished() {
  const auto of = [](const std::atomic<std::uint64_t>& n) { return n.load(std::memory_order_seq_cst); };
  channel::ring_words<env>& w = words();
  std::uint64_t over = of(w.done) + of(w.torn) + of(w.lost) + of(w.withdrawn);
  const std::uint64_t used = std::min<std::uint64_t>(of(w.hands_used), channel::hand_count);
  for (std::uint64_t i = 0; i < used; ++i) {  // what a killed process had taken, nobody will say to be done
    auto& hand = w.hand_at(i);
    const auto owner = static_cast<std::uint32_t>(of(hand.owner));
    if (owner != 0 && env::killed(owner)) over += of(hand.count);
  }
  const std::uint64_t pushed = ring_.taken();
  return pushed > over ? pushed - over : 0;
}

bool queue_core::take_from_a_hand(channel::hand<env>& hand) noexcept {
  std::uint64_t held = hand.count.load(std::memory_order_relaxed);
  while (held != 0) {
    if (hand.count.compare_exchange_weak(held, held - 1, std::memory_order_relaxed)) return true;
  }
  return false;
}

void queue_core::task_done() {
  channel::hand<env>& own = own_hand(self_id());
  channel::ring_words<env>& w = words();
  std::uint64_t done = w.done.load(std::memory_order_relaxed);
  do {
    if (done + w.torn + w.lost + w.withdrawn >= w.head.load(std::memory_order_acquire))
      throw std::logic_error("tandem: task_done() was called more often than messages were popped");
  } while (!w.done.compare_exchange_weak(done, done + 1, std::memory_order_seq_cst));
  // One that another process has popped may be done here: then it is in his hand, and his death is not to count it again.
  if (!take_from_a_hand(own)) {
    const std::uint64_t used =
        std::min<std::uint64_t>(w.hands_used.load(std::memory_order_seq_cst), channel::hand_count);
    for (std::uint64_t i = 0; i < used && !take_from_a_hand(w.hand_at(i)); ++i) {
    }
  }
  if (unfinished() == 0) channel::wake_all<env>(w.finished);
}

void queue_core::join() {
  self_id();
  std::uint32_t deaths = env::deaths() - 1;
  const auto attempt = [&] {
    if (const std::uint32_t now = env::deaths(); now != deaths) {
      deaths = now;
      bury_all();
    }
    return unfinished() == 0;
  };
  if (!attempt()) channel::await<env>(words().finished, os::never, attempt, [] { return false; });
}

// ---- wait_any -------------------------------------------------------------------------------------------------------

void* queue_core::watcher::run(void* self) {
  auto& w = *static_cast<watcher*>(self);
  const auto attempt = [&] { return w.core.ready(); };
  const auto is_stopped = [&] { return w.stopped.load(std::memory_order_seq_cst); };
  if (attempt() || channel::await<env>(w.core.words().items, os::never, attempt, is_stopped) == wait_end::done) {
    os::signal_event(w.event);
    channel::wake_one<env>(w.core.words().items);  // it took nothing
  }
  return nullptr;
}

bool queue_core::ready() { return ring_.ready() || pushers_were_killed(); }

void queue_core::watch(int event) {
  self_id();
  auto made = std::make_unique<watcher>(*this, event);
  const std::lock_guard lock(watching_);
  watchers_.reserve(watchers_.size() + 1);
  const os::signal_guard no_signals;
  os::check(os::start_thread(watcher::run, made.get(), made->thread), "pthread_create");
  watchers_.push_back(std::move(made));
}

void queue_core::unwatch(int event) noexcept {
  std::unique_ptr<watcher> mine;
  {
    const std::lock_guard lock(watching_);
    const auto found = std::find_if(watchers_.begin(), watchers_.end(), [&](auto& w) { return w->event == event; });
    if (found == watchers_.end()) return;
    mine = std::move(*found);
    watchers_.erase(found);
  }
  mine->stopped.store(true, std::memory_order_seq_cst);
  channel::wake_all<env>(words().items);
  os::join_thread(mine->thread, os::never);
}

}  // namespace tandem::detail
