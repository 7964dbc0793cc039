#pragma once
// The slots of a queue: many put in, many take out, in one order, and any of them may be killed between two steps.
//
// Each slot has one word: the round in which it is used (the how many-th time), its state, and who is at it. A position is
// taken by the one step that writes the taker's name into its slot, so there is no moment at which it is taken and nobody
// knows by whom; the numbers of the next positions only follow, and whoever finds them behind moves them on. (The sequence
// number in the slot is from D. Vyukov's bounded queue; the helping from Michael and Scott, Simple, fast, and practical
// non-blocking and blocking concurrent queue algorithms, 1996.)
//
//   empty ─ writing ─ full ─ reading ─ empty of the next round
//              └ torn, withdrawn ────────┘
//
// A queue is closed by one word. Who takes a position looks at it afterwards, and withdraws if it was closed; who reads looks
// at it first, and then at the slot. So a position that is not taken once the queue is closed never will be.
//
// Who comes to a slot whose writer or reader has died buries it: the message was torn, or is lost. Several of them do so one
// by one, under a lock, and write down first what they are about to do, so that each death is counted once.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "channel/wakes.hpp"
#include "sync/lock_algorithm.hpp"

namespace tandem::channel {

enum class slot_state : std::uint64_t { empty, writing, full, reading, torn, withdrawn };

constexpr unsigned slot_state_bits = 3;
constexpr unsigned slot_owner_bits = 30;
constexpr unsigned slot_round_shift = slot_state_bits + slot_owner_bits;
constexpr std::uint64_t slot_round_mask = (std::uint64_t{1} << (64 - slot_round_shift)) - 1;
constexpr std::uint64_t slot_owner_mask = (1U << slot_owner_bits) - 1;

constexpr std::uint64_t slot_word(std::uint64_t round, slot_state state, std::uint32_t owner = 0) noexcept {
  return (round << slot_round_shift) | ((owner & slot_owner_mask) << slot_state_bits) |
         static_cast<std::uint64_t>(state);
}
constexpr slot_state state_of(std::uint64_t w) noexcept { return static_cast<slot_state>(w & 7); }
constexpr std::uint32_t owner_of(std::uint64_t w) noexcept {
  return static_cast<std::uint32_t>((w >> slot_state_bits) & slot_owner_mask);
}
constexpr std::uint64_t round_in(std::uint64_t w) noexcept { return w >> slot_round_shift; }

/// What every slot begins with.
template <class Env>
struct slot_head {
  typename Env::wide word;
  std::atomic<std::uint32_t> cpu;  // where its last visitor ran; only a hint
  std::uint32_t unused;
};

/// How many messages a process has taken and not yet said to have done with.
template <class Env>
struct hand {
  typename Env::wide owner;  // the id of the process
  typename Env::wide count;
};
constexpr std::size_t apart_count = 64;  // of those that have a line for themselves
constexpr std::size_t hand_count = 1024;

/// What all share beside the slots. Zeros are an empty queue.
template <class Env>
struct ring_words {
  using word = typename Env::word;
  using wide = typename Env::wide;
  alignas(64) wide tail;      // the next position to be written
  wide known_head;            // at most what the next one was; so that pushers need not look at it
  alignas(64) wide head;      // the next to be read
  alignas(64) wide items;     // for those who wait for a message
  alignas(64) wide room;      // for those who wait for room
  alignas(64) wide finished;  // for those in join()
  wide done;
  alignas(64) word closing;  // no position after the last one taken is taken any more
  word unused;
  std::uint64_t number;
  alignas(64) word burying;  // a lock
  word grave_open;           // what is below is true
  wide grave_position;
  wide grave_word;
  wide grave_count;
  wide torn;
  wide lost;
  wide withdrawn;
  alignas(64) word placing;  // a lock: who takes room for a message of any size
  wide oldest;               // at most the first position whose room is not free again
  wide hands_used;           // no hand from here on was ever used
  struct alignas(64) line_of_one {
    hand<Env> only;
  };
  line_of_one apart[apart_count];
  hand<Env> others[hand_count - apart_count];

  hand<Env>& hand_at(std::uint64_t index) noexcept {
    return index < apart_count ? apart[index].only : others[(index - apart_count) % (hand_count - apart_count)];
  }
};

/// For locks that are held for some instructions, and left free by an owner that dies. False if another, who lives, has
/// not given it back by the deadline, nor within a moment: it was stopped, or has no turn. Without that moment a lock that
/// is given back at once would look like a queue without room.
template <class Env>
bool lock_for_a_moment(typename Env::word& w, clock::time_point deadline) {
  if (sync::lock_word_once<Env>(w, sync::leaves_it_free{}) == sync::lock_end::taken) return true;
  constexpr std::chrono::milliseconds patience{10};
  if (deadline != clock::time_point::max()) deadline = std::max(deadline, clock::now() + patience);
  // As for a repair: whatever a peer has written there, the lock itself is good.
  return sync::lock_word_until<Env>(w, deadline, sync::lock_purpose::repair, sync::leaves_it_free{}) !=
         sync::lock_end::late;
}

enum class claim_end {
  taken,
  none,   // no room, no message
  ended,  // closed, and all is read
};

template <class Env>
class ring {
 public:
  using words = ring_words<Env>;
  using wide = typename Env::wide;
  struct shape {
    std::size_t stride = 0;   // from slot to slot
    std::uint64_t count = 0;  // of slots, at least 2
    std::uint64_t limit = 0;  // how many may be full
    bool of_any_size = false;
  };

  ring(words& w, std::byte* slots, const shape& s) noexcept : words_(w), slots_(slots), shape_(s) {
    if ((s.count & (s.count - 1)) == 0) shift_ = static_cast<unsigned>(__builtin_ctzll(s.count));
  }

  slot_head<Env>& slot(std::uint64_t position) const noexcept {
    // SAFETY: slots begin so, were made of zeros, and the index is below their number, whatever the position is.
    return *reinterpret_cast<slot_head<Env>*>(slots_ + index_of(position) * shape_.stride);
  }
  std::uint64_t round_of(std::uint64_t position) const noexcept {
    return (shift_ != no_shift ? position >> shift_ : position / shape_.count) & slot_round_mask;
  }

  /// Takes the next position to write, for `self`, if `prepare(position)` finds room there; what that wrote into the slot
  /// is as nothing if another takes it.
  template <class Prepare>
  claim_end claim_push(std::uint32_t self, std::uint64_t& position, Prepare prepare) {
    return claim(words_.tail, position, [&](std::uint64_t at) { return push_at(at, self, prepare); });
  }
  /// The message is there. False if it is not the caller's any more.
  bool commit(std::uint64_t position, std::uint32_t self) noexcept {
    return leave(position, slot_state::writing, self, slot_state::full, 0);
  }
  /// It will not be. Nothing if it is not the caller's: a copy of the program has the loans of its original, and no place.
  void withdraw(std::uint64_t position, std::uint32_t self) noexcept {
    if (slot(position).word.load(std::memory_order_relaxed) != slot_word(round_of(position), slot_state::writing, self))
      return;
    words_.withdrawn.fetch_add(1, std::memory_order_relaxed);
    leave(position, slot_state::writing, self, slot_state::withdrawn, 0);
  }

  /// Takes the next position to read.
  claim_end claim_pop(std::uint32_t self, std::uint64_t& position) {
    return claim(words_.head, position, [&](std::uint64_t at) { return pop_at(at, self); });
  }
  /// It was read: the slot may be used again.
  bool release(std::uint64_t position, std::uint32_t self) noexcept {
    return leave(position, slot_state::reading, self, slot_state::empty, 1);
  }
  /// How many positions were taken so far, also by those who died before they moved the tail on.
  std::uint64_t taken() noexcept {
    for (;;) {
      const std::uint64_t t = words_.tail.load(std::memory_order_seq_cst);
      const std::uint64_t w = slot(t).word.load(std::memory_order_acquire);
      const bool of_this_round = round_in(w) == round_of(t) && state_of(w) != slot_state::empty;
      if (!of_this_round && distance(round_in(w), round_of(t)) != 1) return t;
      move_on(words_.tail, t);
    }
  }
  /// True if there is a message at the head.
  bool is_next_there() const noexcept {
    const std::uint64_t h = words_.head.load(std::memory_order_acquire);
    return slot(h).word.load(std::memory_order_acquire) == slot_word(round_of(h), slot_state::full);
  }
  /// True if claim_pop() would not say `none`.
  bool ready() {
    std::uint64_t ignored = 0;
    return claim(words_.head, ignored, [&](std::uint64_t at) { return look_at(at); }) != claim_end::none;
  }

  void close() noexcept {
    words_.closing.store(1, std::memory_order_seq_cst);
    Env::step("close.set");
    wake_everybody();
  }
  bool is_closing() const noexcept { return words_.closing.load(std::memory_order_seq_cst) != 0; }

  /// Makes whole what those who buried and died have left.
  void finish_burials() {
    if (!lock_for_a_moment<Env>(words_.burying, no_wait)) return;  // one who lives is at it
    finish_burial();
    sync::unlock_word<Env>(words_.burying);
  }
  /// If whoever is at that slot has died, it is buried. False also while another, who lives, is at that: he wakes all when
  /// it is done.
  bool bury_if_dead(std::uint64_t position, std::uint64_t w) {
    if (state_of(w) != slot_state::writing && state_of(w) != slot_state::reading) return false;
    if (Env::alive(owner_of(w))) return false;
    if (!lock_for_a_moment<Env>(words_.burying, no_wait)) return false;
    finish_burial();
    if (slot(position).word.load(std::memory_order_acquire) == w) {
      const bool torn = state_of(w) == slot_state::writing;
      words_.grave_position.store(position, std::memory_order_relaxed);
      words_.grave_word.store(w, std::memory_order_relaxed);
      words_.grave_count.store((torn ? words_.torn : words_.lost).load(std::memory_order_relaxed) + 1,
                               std::memory_order_relaxed);
      words_.grave_open.store(1, std::memory_order_release);
      Env::step("bury.written");
      finish_burial();
    }
    sync::unlock_word<Env>(words_.burying);
    wake_everybody();
    return true;
  }
  /// Something was read, or passed over. Where messages differ in size, what is free now may be too little for the one who
  /// has waited longest and enough for another: whoever waits looks.
  void wake_for_room() noexcept {
    if (shape_.of_any_size) {
      wake_all<Env>(words_.room);
    } else {
      wake_one<Env>(words_.room);
    }
  }
  void wake_everybody() noexcept {
    wake_all<Env>(words_.items);
    wake_all<Env>(words_.room);
    wake_all<Env>(words_.finished);
  }

  words& all() const noexcept { return words_; }
  const shape& form() const noexcept { return shape_; }

 private:
  enum class step_end { taken, none, ended, again };
  static constexpr clock::time_point no_wait{};
  static constexpr unsigned no_shift = 64;
  static constexpr std::size_t line = 64;

  std::uint64_t index_of(std::uint64_t position) const noexcept {
    return shift_ != no_shift ? position & (shape_.count - 1) : position % shape_.count;
  }
  static std::uint64_t distance(std::uint64_t later, std::uint64_t earlier) noexcept {
    return (later - earlier) & slot_round_mask;
  }
  static void move_on(wide& next, std::uint64_t position) noexcept {
    std::uint64_t seen = position;
    next.compare_exchange_strong(seen, position + 1, std::memory_order_acq_rel, std::memory_order_relaxed);
  }
  bool leave(std::uint64_t position, slot_state from, std::uint32_t self, slot_state to, std::uint64_t later) noexcept {
    std::uint64_t seen = slot_word(round_of(position), from, self);
    // Release: whoever is next at this slot sees what was done to it. Sequentially consistent: pairs with a sleeper, which
    // registers and then looks.
    return slot(position).word.compare_exchange_strong(
        seen, slot_word((round_of(position) + later) & slot_round_mask, to), std::memory_order_seq_cst);
  }

  // True if there may be one more; what is known of the head is brought up to date when it seems to be too little.
  bool within_limit(std::uint64_t t) noexcept {
    if (shape_.limit >= shape_.count || t - words_.known_head.load(std::memory_order_relaxed) < shape_.limit)
      return true;
    const std::uint64_t h = words_.head.load(std::memory_order_seq_cst);
    words_.known_head.store(h, std::memory_order_relaxed);
    return t - h < shape_.limit;
  }

  template <class Step>
  claim_end claim(wide& next, std::uint64_t& position, Step step) {
    for (;;) {
      const std::uint64_t at = next.load(std::memory_order_acquire);
      switch (step(at)) {
        case step_end::taken: position = at; return claim_end::taken;
        case step_end::ended: return claim_end::ended;
        case step_end::again: break;
        case step_end::none:  // unless it was a place that the others have left behind
          if (next.load(std::memory_order_seq_cst) == at) return claim_end::none;
      }
    }
  }

  template <class Prepare>
  step_end push_at(std::uint64_t t, std::uint32_t self, Prepare& prepare) {
    if (is_closing()) return step_end::ended;
    slot_head<Env>& s = slot(t);
    std::uint64_t w = s.word.load(std::memory_order_seq_cst);
    const std::uint64_t round = round_of(t);
    if (round_in(w) == round && state_of(w) == slot_state::empty) {
      if (!within_limit(t) || !prepare(t)) return tidy_head() ? step_end::again : step_end::none;
      if (!s.word.compare_exchange_strong(w, slot_word(round, slot_state::writing, self), std::memory_order_seq_cst))
        return step_end::again;  // another was faster
      Env::step("push.claimed");
      move_on(words_.tail, t);
      Env::step("push.moved_on");
      if (!is_closing()) return step_end::taken;
      withdraw(t, self);
      wake_everybody();
      return step_end::ended;
    }
    if (round_in(w) == round || distance(round_in(w), round) == 1) {  // it was taken, and the tail stayed behind
      move_on(words_.tail, t);
      return step_end::again;
    }
    const bool of_last_round = distance(round, round_in(w)) == 1;
    return of_last_round && (bury_if_dead(t - shape_.count, w) || tidy_head()) ? step_end::again : step_end::none;
  }

  step_end pop_at(std::uint64_t h, std::uint32_t self) {
    slot_head<Env>& s = slot(h);
    std::uint64_t w = s.word.load(std::memory_order_seq_cst);
    if (round_in(w) != round_of(h) || state_of(w) != slot_state::full) {
      const step_end seen = look_at(h);
      return seen == step_end::taken ? step_end::again : seen;  // one came just now
    }
    __builtin_prefetch(&s + line / sizeof s);  // what is beside the head comes meanwhile
    if (!s.word.compare_exchange_strong(w, slot_word(round_of(h), slot_state::reading, self), std::memory_order_acq_rel,
                                        std::memory_order_relaxed)) {
      return step_end::again;
    }
    Env::step("pop.claimed");
    move_on(words_.head, h);
    Env::step("pop.moved_on");
    return step_end::taken;
  }

  // What there is at the head; what is done with is passed.
  step_end look_at(std::uint64_t h) {
    const step_end nothing = is_closing() ? step_end::ended : step_end::none;  // before the look at the slot
    const std::uint64_t w = slot(h).word.load(std::memory_order_seq_cst);
    const std::uint64_t round = round_of(h);
    if (distance(round, round_in(w)) == 1) return nothing;  // whoever reads the one before is not through
    if (round_in(w) != round) {
      if (distance(round_in(w), round) != 1) return step_end::none;
      move_on(words_.head, h);
      return step_end::again;
    }
    switch (state_of(w)) {
      case slot_state::full: return step_end::taken;
      case slot_state::empty: return nothing;
      case slot_state::writing: return bury_if_dead(h, w) ? step_end::again : step_end::none;
      case slot_state::reading: move_on(words_.head, h); return step_end::again;
      default: pass_over(h, w); return step_end::again;
    }
  }

  // True if it was behind, and was moved on.
  bool tidy_head() {
    const std::uint64_t h = words_.head.load(std::memory_order_acquire);
    const std::uint64_t w = slot(h).word.load(std::memory_order_acquire);
    if (distance(round_in(w), round_of(h)) == 1 || (round_in(w) == round_of(h) && state_of(w) == slot_state::reading)) {
      move_on(words_.head, h);
      return true;
    }
    if (round_in(w) != round_of(h) || (state_of(w) != slot_state::torn && state_of(w) != slot_state::withdrawn))
      return false;
    pass_over(h, w);
    return true;
  }
  void pass_over(std::uint64_t h, std::uint64_t w) {
    slot(h).word.compare_exchange_strong(w, slot_word((round_of(h) + 1) & slot_round_mask, slot_state::empty),
                                         std::memory_order_seq_cst);
    Env::step("pass.freed");
    move_on(words_.head, h);
    wake_for_room();
  }

  // One that was begun; by whoever holds the lock.
  void finish_burial() noexcept {
    if (words_.grave_open.load(std::memory_order_acquire) == 0) return;
    const std::uint64_t position = words_.grave_position.load(std::memory_order_relaxed);
    std::uint64_t w = words_.grave_word.load(std::memory_order_relaxed);
    const bool torn = state_of(w) == slot_state::writing;
    const std::uint64_t after = torn ? slot_word(round_in(w), slot_state::torn)
                                     : slot_word((round_in(w) + 1) & slot_round_mask, slot_state::empty);
    slot(position).word.compare_exchange_strong(w, after, std::memory_order_seq_cst);
    Env::step("bury.marked");
    (torn ? words_.torn : words_.lost)
        .store(words_.grave_count.load(std::memory_order_relaxed), std::memory_order_relaxed);
    Env::step("bury.counted");
    words_.grave_open.store(0, std::memory_order_release);
  }

  words& words_;
  std::byte* slots_;
  shape shape_;
  unsigned shift_ = no_shift;
};

}  // namespace tandem::channel
