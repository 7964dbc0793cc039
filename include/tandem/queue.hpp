#pragma once
// Message queues in shared memory: many put in, many take out, threads and processes alike.
//
//   tandem::queue<std::string> words(100);
//   tandem::process p([](tandem::queue<std::string> out) { out.push("hello"); out.close(); }, words);
//   for (const std::string& word : words) std::puts(word.c_str());   // until it is closed, and all is read
//
// A queue is bounded: whoever pushes into a full one waits. push() has put the message where the others find it when it
// returns; no thread does so later. Copies of a queue are handles of the same one; it is gone with the last of them.
// A process may be killed at any moment: the others go on, and at most the one message that it was writing or taking is
// gone with it, which stats() counts.
#include <cstddef>
#include <iterator>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

#include <tandem/detail/channel_queue.hpp>
#include <tandem/detail/channel_values.hpp>
#include <tandem/error.hpp>
#include <tandem/transfer.hpp>
#include <tandem/wait.hpp>

namespace tandem {

template <transferable T>
class queue;

/// A message that is made in its place in the queue: push() lets it go, else it is as if it had never been. Its bytes are
/// those of an older message, or zero. Move-only. Those pushed meanwhile wait behind it.
/// Threads: one at a time, any. Fork: belongs to the process that took it, whose end gives it up.
template <transferable T>
class queue_loan {
 public:
  queue_loan(queue_loan&& other) noexcept
      : end_(std::move(other.end_)), place_(std::exchange(other.place_, detail::queue_place{})) {}
  queue_loan& operator=(queue_loan&& other) noexcept {
    queue_loan taken(std::move(other));
    std::swap(end_, taken.end_);
    std::swap(place_, taken.place_);
    return *this;
  }
  /// Gives the place up, unless it was pushed.
  /// Blocks: never. Errors: none. Cost: a system call if somebody sleeps.
  ~queue_loan() {
    if (place_.address != nullptr) end_.abandon_push(place_);
  }

  /// The message, until it was pushed.
  T& operator*() const noexcept { return *static_cast<T*>(place_.address); }
  T* operator->() const noexcept { return static_cast<T*>(place_.address); }
  /// Pushes it: whoever pops gets it, or sees it in place.
  /// Blocks: never. Errors: std::logic_error if it was pushed before; decode_error if another process wrote over the
  /// queue. Cost: no copy; a system call if somebody sleeps.
  void push() {
    if (place_.address == nullptr) detail::throw_no_place();
    end_.finish_push(std::exchange(place_, detail::queue_place{}));
  }

 private:
  friend class queue<T>;
  queue_loan(detail::queue_end end, const detail::queue_place& place) noexcept : end_(std::move(end)), place_(place) {}
  detail::queue_end end_;
  detail::queue_place place_;
};

/// A message that was popped, and is read where it lies. Its room is free again when this is destroyed; until then one more
/// cannot be pushed in its stead. Move-only.
/// Threads: any read it at once; destroyed by one. Fork: belongs to the process that took it, whose end gives it up. A
/// process that has the queue can write over the bytes at any time: who does not trust it copies, then looks.
template <transferable T>
class queue_view {
 public:
  queue_view(queue_view&& other) noexcept
      : end_(std::move(other.end_)), place_(std::exchange(other.place_, detail::queue_place{})) {}
  queue_view& operator=(queue_view&& other) noexcept {
    queue_view taken(std::move(other));
    std::swap(end_, taken.end_);
    std::swap(place_, taken.place_);
    return *this;
  }
  /// Gives the room back.
  /// Blocks: never. Errors: none. Cost: a system call if a pusher sleeps.
  ~queue_view() {
    if (place_.address != nullptr) end_.finish_pop(place_);
  }

  /// The message.
  const T& operator*() const noexcept { return *static_cast<const T*>(place_.address); }
  const T* operator->() const noexcept { return static_cast<const T*>(place_.address); }

 private:
  friend class queue<T>;
  queue_view(detail::queue_end end, const detail::queue_place& place) noexcept : end_(std::move(end)), place_(place) {}
  detail::queue_end end_;
  detail::queue_place place_;
};

namespace detail {
/// Becomes a T that is not set to anything: its bytes come from elsewhere. Nothing is copied, since it is made where it
/// stays.
template <class T>
struct unset {
  operator T() const {  // NOLINT: on purpose
    T value;
    return value;
  }
};

inline bool has_come(arrival came, clock::time_point deadline) {
  if (came == arrival::closed && deadline != no_deadline) throw_drained();
  return came == arrival::message;
}

/// A function of its own: only so is the value made where the caller wants it.
template <class T>
std::optional<T> pop_large(const queue_end& from, clock::time_point deadline, const std::stop_token* stop) {
  std::optional<T> value(std::in_place, unset<T>{});
  if (!has_come(from.pop_flat(&*value, deadline, stop), deadline)) value.reset();
  return value;
}
}  // namespace detail

/// A bounded queue of messages in shared memory. Copies are handles of the same queue, and so is what a process gets as an
/// argument or through a pipe. A moved-from handle may only be destroyed or assigned to.
/// Threads: const members at once; moves and destruction of one handle by one thread, alone. Fork: a copy made by
/// fork_options has the same queue; one made by fork() is refused (not_initialised) if the program has workers, and must not
/// use it in any case.
template <transferable T>
class queue {
  static_assert(!carries_handles<T>,
                "tandem: the messages of a queue lie in shared memory, which cannot carry descriptors, and this type "
                "holds some (or a queue, or an end of a pipe): send it through a pipe");
  static constexpr bool is_flat = detail::is_flat<T>;
  static constexpr bool is_large = is_flat && sizeof(T) > 256;
  // What may be large is not copied before it is pushed.
  using message = std::conditional_t<is_large || detail::is_block<T>(), const T&, T>;

 public:
  class iterator;

  /// A new queue with room for `capacity` messages, and for options.bytes of them together.
  /// Blocks: never. Errors: std::invalid_argument for a capacity of 0; resource_exhausted, also if the machine cannot give
  /// so much memory. Cost: some ten system calls, and 0.2 ms for each MiB, since all of it is reserved. A message of one
  /// size (a number, an aggregate of such without padding) takes that and 16 bytes, in lines of 64; 4 MiB at least where it
  /// has 1 KiB and more. Others: 64 bytes each, and options.bytes for all.
  explicit queue(std::size_t capacity, queue_options options = {}) : end_(form(capacity, options.bytes)) {}

  /// Pushes one message.
  /// Blocks: while the queue is full. Errors: closed if it was closed, also meanwhile; std::length_error if the message is
  /// larger than the queue's bytes; what encoding throws; the first time in a process: resource_exhausted,
  /// not_initialised. Nothing was pushed then. Stop: the second form throws cancelled once a stop was requested, and
  /// nothing was pushed. Signals: do not disturb it. Cost: a copy; encoded first unless of one size; no system call unless
  /// somebody sleeps or it waits. A vector or string of flat values, and what has one size of more than 256 bytes, is read
  /// where it is: it must stay as it is until this returns. Anything else is taken by value.
  void push(message value) const { send(value, detail::no_deadline, nullptr); }
  void push(std::stop_token stop, message value) const { send(value, detail::no_deadline, &stop); }
  /// As push(), but does not wait, or no longer than `timeout`: false if the queue was still full; nothing was pushed.
  /// Blocks: try_push never; push_for until then. Errors: as push().
  bool try_push(message value) const { return send(value, detail::at_once, nullptr); }
  bool push_for(message value, nanoseconds timeout) const {
    return send(value, detail::moment_after(timeout), nullptr);
  }
  /// Pushes all of a range, one after the other; gives how many, which are fewer only if the queue was closed meanwhile.
  /// Messages of others may come between them.
  /// Blocks: while the queue is full. Errors: as push(); closed only if none was pushed. What throws comes after those that
  /// were pushed.
  template <class R>
  std::size_t push_all(R&& range) const;

  /// The next message; nothing once the queue is closed and all was popped.
  /// Blocks: until then. Errors: closed once all was popped and the last process that pushed was killed; decode_error if
  /// the bytes are no T, since another process wrote over them, and what decoding throws: each costs the one message; the
  /// first time in a process: resource_exhausted, not_initialised. Stop: the second form throws cancelled once a stop was
  /// requested. Signals: do not disturb it. Cost: a copy; no system call unless somebody sleeps or it waits.
  std::optional<T> pop() const { return receive(detail::no_deadline, nullptr); }
  std::optional<T> pop(std::stop_token stop) const { return receive(detail::no_deadline, &stop); }
  /// As pop(), but nothing if no message was there, or came within `timeout`.
  /// Blocks: try_pop never; pop_for until then. Errors: as pop(); closed once the queue is closed and all was popped.
  std::optional<T> try_pop() const { return receive(detail::at_once, nullptr); }
  std::optional<T> pop_for(nanoseconds timeout) const { return receive(detail::moment_after(timeout), nullptr); }
  /// The next messages, up to `most`: waits for the first, and takes what is there. None once the queue is closed and all
  /// was popped.
  /// Blocks: until there is one. Errors: as pop(); what was popped before one that cannot be decoded is lost with it.
  std::vector<T> pop_some(std::size_t most) const;

  /// No more messages from now on; those that are in it can still be popped. A second time it does nothing.
  /// Blocks: never. Errors: not_initialised. Cost: a system call for each kind of those who wait.
  void close() const { end_.close(); }
  /// True once it was closed.
  bool is_closed() const noexcept { return end_.is_closed(); }
  /// How many messages wait in it, as of a moment ago; those that are being written count.
  std::size_t size() const noexcept { return end_.size(); }
  /// How many it has room for.
  std::size_t capacity() const noexcept { return end_.capacity(); }
  /// What has happened so far. Exact while nobody pushes or pops.
  /// Errors: resource_exhausted. Cost: a look at each slot.
  queue_stats stats() const { return end_.stats(); }

  /// Says that the work that a popped message asked for is done.
  /// Errors: std::logic_error if that was said more often than messages were popped; as pop(). Cost: some atomic steps.
  void task_done() const { end_.task_done(); }
  /// Waits until task_done() was called for each message that was pushed. What a killed process had popped, or was about
  /// to, does not count any more.
  /// Blocks: until then. Errors: resource_exhausted, not_initialised.
  void join() const { end_.join(); }

  /// Messages until the queue is closed and all was popped; each step is a pop(). One pass.
  /// Blocks: until there is a message, or the end. Errors: as pop().
  iterator begin() const { return iterator(*this); }
  std::default_sentinel_t end() const noexcept { return {}; }

  /// A place for one message, to make it where it will be read; T is of one size (std::array, an aggregate of numbers).
  /// Blocks: while the queue is full. Errors: as push(). Cost: no copy.
  queue_loan<T> loan() const {
    require_flat();
    return {end_, end_.begin_push(detail::no_deadline)};
  }
  /// The next message, to read it where it lies; nothing as pop().
  /// Blocks: until there is one. Errors: as pop(). Cost: no copy.
  std::optional<queue_view<T>> view() const {
    require_flat();
    detail::arrival came{};
    const detail::queue_place place = end_.begin_pop(came, detail::no_deadline);
    if (came != detail::arrival::message) return std::nullopt;
    return queue_view<T>(end_, place);
  }

 private:
  friend struct transfer<queue>;
  friend struct detail::waiting<queue>;
  explicit queue(detail::queue_end end) noexcept : end_(std::move(end)) {}
  static constexpr void require_flat() noexcept {
    static_assert(is_flat,
                  "tandem: only messages of one size without padding are made and read in place: use std::array, or an "
                  "aggregate of numbers; others are pushed and popped");
  }
  static detail::queue_form form(std::uint64_t capacity, std::uint64_t bytes) noexcept {
    static_assert(alignof(T) <= 4096, "tandem: shared memory is aligned to pages of 4096 bytes, and no further");
    static_assert(!is_flat || sizeof(T) <= UINT32_MAX, "tandem: a message of one size has less than 4 GiB");
    if constexpr (is_flat)
      return {static_cast<std::uint32_t>(sizeof(T)), static_cast<std::uint32_t>(alignof(T)), sizeof(T), capacity,
              bytes};
    return {0, 1, sizeof(T), capacity, bytes};
  }
  bool send(const T& value, clock::time_point deadline, const std::stop_token* stop) const;
  std::optional<T> receive(clock::time_point deadline, const std::stop_token* stop) const;

  detail::queue_end end_;
};

/// What a range-based for goes through.
template <transferable T>
class queue<T>::iterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using iterator_concept = std::input_iterator_tag;
  using value_type = T;
  using difference_type = std::ptrdiff_t;
  using pointer = T*;
  using reference = T&;

  iterator() noexcept = default;
  /// The message.
  T& operator*() const noexcept { return *value_; }
  T* operator->() const noexcept { return &*value_; }
  /// Pops the next one.
  /// Blocks: until there is one, or the end. Errors: as pop().
  iterator& operator++() {
    value_ = queue_->pop();
    return *this;
  }
  void operator++(int) { ++*this; }
  /// True at the end.
  friend bool operator==(const iterator& it, std::default_sentinel_t) noexcept { return !it.value_; }

 private:
  friend class queue;
  explicit iterator(const queue& from) : queue_(from), value_(from.pop()) {}
  std::optional<queue> queue_ = {};
  mutable std::optional<T> value_ = {};
};

template <transferable T>
bool queue<T>::send(const T& value, clock::time_point deadline, const std::stop_token* stop) const {
  if constexpr (is_flat) {
    return end_.push({std::as_bytes(std::span(&value, 1)), {}, {}}, deadline, stop);
  } else if constexpr (detail::is_block<T>()) {
    const std::uint64_t count = value.size();
    return end_.push({std::as_bytes(std::span(&count, 1)), std::as_bytes(std::span(value.data(), value.size())), {}},
                     deadline, stop);
  } else {
    writer out;
    out(value);
    return end_.push({detail::finished_bytes(out), {}, {}}, deadline, stop);
  }
}

template <transferable T>
std::optional<T> queue<T>::receive(clock::time_point deadline, const std::stop_token* stop) const {
  if constexpr (is_large && std::is_default_constructible_v<T>) {
    return detail::pop_large<T>(end_, deadline, stop);
  } else if constexpr (is_flat) {
    std::byte bytes[sizeof(T)];
    return detail::has_come(end_.pop_flat(bytes, deadline, stop), deadline) ? std::optional<T>(detail::load<T>(bytes))
                                                                            : std::nullopt;
  } else {
    detail::value_sink<T> into;
    return detail::has_come(end_.pop(into, deadline, stop), deadline) ? std::optional<T>(into.take()) : std::nullopt;
  }
}

template <transferable T>
template <class R>
std::size_t queue<T>::push_all(R&& range) const {
  std::size_t count = 0;
  for (auto&& value : range) {
    try {
      if constexpr (std::is_reference_v<message> && std::is_same_v<std::remove_cvref_t<decltype(value)>, T>) {
        push(value);
      } else {
        push(T(std::forward<decltype(value)>(value)));
      }
    } catch (const closed&) {
      if (count == 0) throw;
      break;
    }
    ++count;
  }
  return count;
}

template <transferable T>
std::vector<T> queue<T>::pop_some(std::size_t most) const {
  std::vector<T> all;
  if (most == 0) return all;
  std::optional<T> next = pop();
  while (next) {
    all.push_back(std::move(*next));
    if (all.size() == most) break;
    try {
      next = try_pop();
    } catch (const closed&) {
      break;  // the next call says so
    }
  }
  return all;
}

/// One more handle of the queue.
template <class T>
struct transfer<queue<T>> {
  static constexpr bool carries_handles = true;
  static void write(writer& w, const queue<T>& q) { q.end_.write(w); }
  static queue<T> read(reader& r) { return queue<T>(detail::queue_end::read(r, queue<T>::form(1, 0))); }
};

template <class T>
struct detail::waiting<queue<T>> {
  static wait_entry of(const queue<T>& q) {
    return {&q.end_,
            [](const void* e) {
              return wait_state{-1, end(e).ready()};
            },
            nullptr, [](const void* e, int event) { end(e).watch(event); },
            [](const void* e, int event) noexcept { end(e).unwatch(event); }};
  }

 private:
  static const queue_end& end(const void* e) noexcept { return *static_cast<const queue_end*>(e); }
};

}  // namespace tandem
