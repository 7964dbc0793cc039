#pragma once
// One task, seen from its future: a word that says whether it has ended, and what it gave. What runs tasks derives from
// this: the word and the waiting are here, the hooks say how that backend is asked, waited for and stopped.
//
// Who ends a task: exactly one of several that may try (the worker, a deadline, cancel(), the death of a worker). Those
// that bring nothing with them (end_as) and the one runner that brings a value (end_with_value) simply try; who has
// something to store and is not the only one that could (end_with_error, a collected message) claims first.
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <tandem/deadline.hpp>
#include <tandem/detail/export.hpp>
#include <tandem/detail/worker_posted.hpp>
#include <tandem/transfer.hpp>

namespace tandem::detail {

class future_state;

/// Told once when a task has ended. It stays where it is until then, or until it was removed.
class TANDEM_EXPORT future_watcher {
 public:
  future_watcher() noexcept = default;
  future_watcher(const future_watcher&) = delete;
  future_watcher& operator=(const future_watcher&) = delete;
  /// By whoever ends the task, while others wait for it to return: short, and no call back into the state. It may
  /// destroy the watcher.
  virtual void ended() noexcept = 0;

 protected:
  virtual ~future_watcher() = default;

 private:
  friend class future_state;
  future_watcher* next_ = nullptr;
};

/// What a future in wait_any() is watched with; ends itself.
class event_watcher;

enum class how { softly, hard };

/// An encoded value, and what holds its bytes.
struct lent_message {
  std::span<const std::byte> bytes = {};
  std::vector<file_descriptor> handles = {};
  std::vector<std::byte> copy = {};
  std::shared_ptr<const void> lender = {};
};

class TANDEM_EXPORT future_state {
 public:
  // The word. One of the endings, once there is one; beside it, and before it, marks.
  static constexpr std::uint32_t sleeping = 1;     // somebody sleeps until it has ended
  static constexpr std::uint32_t watched = 2;      // there are watchers
  static constexpr std::uint32_t claimed = 4;      // somebody who will end it stores what it gave
  static constexpr std::uint32_t started = 8;      // it is run, or was; set by try_start()
  static constexpr std::uint32_t stop_asked = 16;  // for the backend
  static constexpr std::uint32_t has_token = 32;   // for the backend
  static constexpr std::uint32_t with_value = 1U << 8;
  static constexpr std::uint32_t with_error = 2U << 8;
  static constexpr std::uint32_t as_cancelled = 3U << 8;
  static constexpr std::uint32_t as_late = 4U << 8;
  static constexpr std::uint32_t ended = 7U << 8;  // the mask of the endings

  future_state(const future_state&) = delete;
  future_state& operator=(const future_state&) = delete;

  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    // The only holder need not tell the others.
    if (references_.load(std::memory_order_acquire) == 1 || references_.fetch_sub(1, std::memory_order_acq_rel) == 1)
      destroy();
  }

  // ---- asked by futures -----------------------------------------------------------------------------------------
  std::uint32_t word() const noexcept { return word_.load(std::memory_order_acquire); }
  bool done() const noexcept { return (word_.load(std::memory_order_acquire) & ended) != 0; }
  bool ready() noexcept { return done() || (look() && done()); }
  /// False at the deadline. Errors: what the backend's sleep() throws.
  bool wait_until(clock::time_point deadline);
  /// True if it had not ended.
  bool cancel(how);
  /// Throws what it ended with, unless that is a value. Once done.
  void rethrow_unless_value() const;
  bool was_cancelled() const noexcept { return (word() & ended) == as_cancelled; }
  /// The same as an exception; null for a value.
  std::exception_ptr failure() const;
  /// Where the value is, of the type that the future has (of a reference: a pointer; of void: anything that is not
  /// null); nullptr: it is encoded, and lend_message() gives it, once. Once done with a value.
  virtual void* value() noexcept { return nullptr; }
  /// Its bytes; they stay as long as the state and what is returned here. `reads_once`: whoever decodes them reads each
  /// byte once, so that a process that writes there meanwhile does no harm; else they are a copy.
  virtual lent_message lend_message([[maybe_unused]] bool reads_once) { return {}; }

  /// Tells it, at once if the task has ended. Errors: what the backend's arrange_telling() throws.
  void add_watcher(future_watcher&);
  /// It was not told, and is not any more; or it was.
  void remove_watcher(future_watcher&) noexcept;
  /// The same for an eventfd. Errors: std::bad_alloc; as add_watcher().
  void watch_event(int event);
  void unwatch_event(int event) noexcept;

  // ---- hooks: what a backend does in its own way ------------------------------------------------------------------
  /// Looks whether it has ended, ends the state then (end_with_value() and so on), and says whether done() holds. Any
  /// thread, several at once. Cheap: spinning calls it.
  virtual bool look() noexcept { return done(); }
  /// One step that brings the end nearer, if the caller may take it; false if there is none. Before anybody sleeps.
  virtual bool help() { return false; }
  /// Looks for as long as a sleep is not worth its price; whether it has ended.
  virtual bool look_a_while(clock::time_point deadline);
  /// Sleeps until it may have ended, or until the deadline. Returning early is harmless. One that sleeps elsewhere than on
  /// the word calls announce_sleep() first, and overrides wake_sleepers().
  virtual void sleep(clock::time_point deadline);
  /// Wakes those who sleep, once it has ended: called only if somebody had announced it.
  virtual void wake_sleepers() noexcept;
  /// From now on its end is told though nobody looks or sleeps. Called before each add_watcher(), outside of locks.
  /// Errors: to the caller of wait_any(), then() and so on.
  virtual void arrange_telling() {}
  /// Of cancel(): removes it if it has not started, or asks for a stop. True if it had not ended.
  virtual bool stop(how) { return false; }

 protected:
  /// With so many holders from the start.
  explicit future_state(std::uint32_t holders = 1) noexcept : references_(holders) {}
  virtual ~future_state();
  /// The last holder let go. A backend that recycles its memory overrides it.
  virtual void destroy() noexcept { delete this; }

  // ---- for backends -----------------------------------------------------------------------------------------------
  /// True for one caller: the task is run by that one, and by nobody if it has been ended before (cancelled).
  bool try_start() noexcept;
  bool has_started() const noexcept { return (word_.load(std::memory_order_acquire) & started) != 0; }
  /// True for one caller: the only one who may end it from now on, and soon does.
  bool claim() noexcept;
  /// Ends it with the value that the caller, its only runner or its claimer, has stored. False if it had ended before
  /// (or, of one that has not claimed, is claimed).
  bool end_with_value() noexcept { return end(with_value, 0); }
  bool end_claimed_with_value() noexcept { return end(with_value, claimed); }
  /// Claims; the exception is dropped if that fails.
  bool end_with_error(std::exception_ptr) noexcept;
  bool end_claimed_with_error(std::exception_ptr) noexcept;
  /// as_cancelled or as_late. False if it had ended before, or is claimed.
  bool end_as(std::uint32_t ending) noexcept { return end(ending, 0); }
  /// The same, but only for one that was never started.
  bool end_unstarted_as(std::uint32_t ending) noexcept;
  /// Before a sleep on another word; false if it has ended already.
  bool announce_sleep() noexcept;

  /// Sets marks; what was there before.
  std::uint32_t mark(std::uint32_t marks) noexcept { return word_.fetch_or(marks, std::memory_order_acq_rel); }
  std::uint32_t holders() const noexcept { return references_.load(std::memory_order_acquire); }
  std::atomic<std::uint32_t>& sleep_word() noexcept { return word_; }

 private:
  bool end(std::uint32_t ending, std::uint32_t mine) noexcept;
  void tell(std::uint32_t before) noexcept;

  std::atomic<std::uint32_t> word_{0};
  std::atomic<std::uint32_t> references_;
  std::exception_ptr error_;
  future_watcher* watchers_ = nullptr;  // under the lock of this address (future_state.cpp)
};

/// Holds one.
template <class State>
class state_ptr {
 public:
  state_ptr() noexcept = default;
  /// Takes over the caller's hold.
  explicit state_ptr(State* held) noexcept : state_(held) {}
  state_ptr(state_ptr&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  state_ptr(const state_ptr& other) noexcept : state_(other.state_) {
    if (state_ != nullptr) state_->retain();
  }
  // Two of them: clang 14 does not destroy a parameter by value that `= {}` made in a template.
  state_ptr& operator=(const state_ptr& other) noexcept { return *this = state_ptr(other); }  // NOLINT: a copy
  state_ptr& operator=(state_ptr&& other) noexcept {
    state_ptr taken(std::move(other));
    std::swap(state_, taken.state_);
    return *this;
  }
  ~state_ptr() {
    if (state_ != nullptr) state_->release();
  }
  State* get() const noexcept { return state_; }
  State* operator->() const noexcept { return state_; }
  State& operator*() const noexcept { return *state_; }
  explicit operator bool() const noexcept { return state_ != nullptr; }
  State* give_up() noexcept { return std::exchange(state_, nullptr); }

 private:
  State* state_ = nullptr;
};

/// A state with a value in memory: what tasks of threads, then() and coroutines end.
template <class T, class Base = future_state>
class value_state : public Base {
 public:
  using stored = std::conditional_t<
      std::is_void_v<T>, char,
      std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, std::remove_const_t<T>>>;
  void* value() noexcept final { return std::addressof(*value_); }

 protected:
  using Base::Base;
  /// Calls `f` and stores what it returns, or gives what it throws. The caller is the only one who may store.
  template <class F>
  std::exception_ptr store_by_calling(F&& f) noexcept {
    try {
      if constexpr (std::is_void_v<T>) {
        std::forward<F>(f)();
        value_.emplace();
      } else if constexpr (std::is_reference_v<T>) {
        value_.emplace(std::addressof(std::forward<F>(f)()));
      } else {
        value_.emplace(std::forward<F>(f)());
      }
      return nullptr;
    } catch (...) {
      return std::current_exception();
    }
  }
  /// The same, and ends with that.
  template <class F>
  void end_by_calling(F&& f) noexcept {
    if (std::exception_ptr failed = store_by_calling(std::forward<F>(f))) {
      this->end_with_error(std::move(failed));
    } else {
      this->end_with_value();
    }
  }
  std::optional<stored> value_;
};

/// Waits for several, and gives their indices in the order in which they end. A worker of a pool runs those that have
/// not begun.
class TANDEM_EXPORT future_collector {
 public:
  /// Errors: std::bad_alloc; what arrange_telling() throws.
  explicit future_collector(std::vector<state_ptr<future_state>> states);
  ~future_collector();
  future_collector(const future_collector&) = delete;
  future_collector& operator=(const future_collector&) = delete;

  /// The next one; nothing at the deadline. Not called more often than there are states.
  std::optional<std::size_t> next(clock::time_point deadline);
  std::size_t left() const noexcept { return left_; }

 private:
  struct entry;
  void put(entry&) noexcept;
  std::optional<std::size_t> take() noexcept;

  std::unique_ptr<entry[]> entries_;
  std::size_t count_;
  std::size_t left_;
  std::size_t helped_ = 0;
  std::atomic<std::uint32_t> word_{0};  // 1: one was put; 2: and before that, somebody sleeps
  std::atomic<entry*> put_{nullptr};    // the last one first
  entry* first_ = nullptr;              // taken from there, in order
};

/// The index of one of them that has ended; nothing at the deadline. Errors: std::invalid_argument if there are none and
/// no deadline.
TANDEM_EXPORT std::optional<std::size_t> wait_any_state(std::span<future_state* const> states,
                                                        clock::time_point deadline);

/// Keeps the service thread for as long as it lives, so that callbacks and deadlines need not start it each time.
class TANDEM_EXPORT service_keeper {
 public:
  service_keeper();
  ~service_keeper();
  service_keeper(const service_keeper&) = delete;
  service_keeper& operator=(const service_keeper&) = delete;

 private:
  alignas(8) unsigned char hold_[16];
};

/// A function that the service thread calls once the state has ended. One that throws is logged.
class TANDEM_EXPORT future_callback : public future_watcher, public posted {
 public:
  /// Keeps the service thread until it has run. Errors: resource_exhausted.
  future_callback();
  ~future_callback() override;
  void ended() noexcept final;

 protected:
  virtual void call() = 0;

 private:
  void run() noexcept final;  // call(), then it destroys itself
  service_keeper kept_;
};

template <class F>
class callback_of final : public future_callback {
 public:
  explicit callback_of(F f) : f_(std::move(f)) {}

 private:
  void call() override { f_(); }
  F f_;
};

/// Calls `f` in the service thread once the state has ended.
template <class F>
void call_when_ended(future_state& state, F f) {
  auto callback = std::make_unique<callback_of<F>>(std::move(f));
  state.add_watcher(*callback);
  static_cast<void>(callback.release());
}

[[noreturn]] TANDEM_EXPORT void throw_no_future();         // std::future_error: no_state
[[noreturn]] TANDEM_EXPORT void throw_future_retrieved();  // future_already_retrieved

}  // namespace tandem::detail
