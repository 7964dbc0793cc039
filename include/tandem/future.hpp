#pragma once
// The result of a task that may not have ended yet.
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <tandem/deadline.hpp>
#include <tandem/detail/call.hpp>
#include <tandem/detail/channel_wait.hpp>
#include <tandem/detail/future_state.hpp>
#include <tandem/error.hpp>
#include <tandem/wait.hpp>

namespace tandem {

/// Says that cancel() may end the worker process that runs the task.
struct hard_t {};
inline constexpr hard_t hard{};

template <class T>
class future;

namespace detail {

struct future_access {
  template <class T>
  static future<T> make(state_ptr<future_state> state) noexcept {
    return future<T>(std::move(state));
  }
  template <class T>
  static future_state& state(const future<T>& f) {
    if (!f.state_) f.throw_empty();
    return *f.state_;
  }
  template <class T>
  static future_state* peek(const future<T>& f) noexcept {
    return f.state_.get();
  }
};

/// The value of a state that has ended with one.
template <class T>
T take_value(future_state& state) {
  if (void* const stored = state.value()) {
    if constexpr (std::is_void_v<T>) {
      return;
    } else if constexpr (std::is_reference_v<T>) {
      return static_cast<T>(**static_cast<std::remove_reference_t<T>**>(stored));
    } else {
      return std::move(*static_cast<std::remove_const_t<T>*>(stored));
    }
  }
  if constexpr (!std::is_void_v<T> && transferable<std::remove_const_t<T>>) {
    lent_message encoded = state.lend_message(reads_once<std::remove_const_t<T>>);
    reader in = make_reader(encoded.bytes, encoded.handles);
    auto value = read_value<std::remove_const_t<T>>(in);
    finish(in);
    return value;
  } else if constexpr (!std::is_void_v<T>) {
    std::terminate();  // only what is transferable comes from processes
  }
}

/// The result of then(): ends when what it follows has ended.
template <class R, class T, class F>
class following final : public value_state<R> {
 public:
  following(state_ptr<future_state> before, F f) : before_(std::move(before)), f_(std::move(f)) {}
  void follow() {
    this->retain();
    state_ptr<following> self(this);
    call_when_ended(*before_, [self = std::move(self)] { self->go_on(); });
  }

 private:
  void go_on() noexcept {
    if (!this->try_start()) return;
    if (std::exception_ptr failed = before_->failure()) {
      if (before_->was_cancelled()) {
        this->end_as(future_state::as_cancelled);
      } else {
        this->end_with_error(std::move(failed));
      }
      return;
    }
    this->end_by_calling([&]() -> R {
      if constexpr (std::is_void_v<T>) {
        return std::invoke(std::move(*f_));
      } else {
        return std::invoke(std::move(*f_), take_value<T>(*before_));
      }
    });
    f_.reset();
  }
  bool stop(how h) override {
    if (!this->end_unstarted_as(future_state::as_cancelled)) return !this->done();
    before_->cancel(h);
    return true;
  }
  state_ptr<future_state> before_;
  std::optional<F> f_;
};

/// What then() makes of a value of type T (of void: of nothing), or not_callable.
template <class F, class... T>
struct following_result {
  using type = not_callable<F, T...>;
};
template <class F>
struct following_result<F, void> : following_result<F> {};
template <class F, class... T>
requires std::is_invocable_v<F, T...>
struct following_result<F, T...> {
  using type = std::invoke_result_t<F, T...>;
};

}  // namespace detail

/// What a task will give: a value, once, or an exception. Move-only; a default-constructed or moved-from one is empty.
/// Dropping it neither waits nor cancels.
/// Threads: const members and cancel() at once; moves, get() and destruction by one thread. Fork: in a child made by
/// fork() the pool does not exist, and its futures never become ready.
template <class T>
class future {
 public:
  /// An empty one.
  future() noexcept = default;
  future(future&&) noexcept = default;
  future& operator=(future&&) noexcept = default;
  ~future() = default;

  /// Waits, then gives the value, once, or throws what the task threw. Then it is empty.
  /// Blocks: until the task has ended; a worker of a pool runs the task itself if nobody has begun it. Errors: what the
  /// task threw; cancelled; timed_out at its deadline; worker_crashed, worker_exited, decode_error, resource_exhausted
  /// (of processes); std::future_error the second time, or on an empty one. Cost: no system call if it is ready.
  T get() {
    detail::state_ptr<detail::future_state> state = std::move(state_);
    if (!state) throw_empty();
    retrieved_ = true;
    state->wait_until(clock::time_point::max());
    state->rethrow_unless_value();
    return detail::take_value<T>(*state);
  }
  /// Waits until the task has ended, however it has. The timed forms: for no longer than that; true if it has ended.
  /// Blocks: until then. Errors: std::future_error on an empty one.
  void wait() const { state().wait_until(clock::time_point::max()); }
  bool wait_for(nanoseconds timeout) const {
    return state().wait_until(timeout <= nanoseconds::zero() ? clock::time_point{} : deadline_after(timeout));
  }
  bool wait_until(clock::time_point deadline) const { return state().wait_until(deadline); }
  /// True if get() would not wait; an empty one is not ready.
  bool ready() const noexcept { return state_ && state_->ready(); }
  /// True if it is not empty.
  bool valid() const noexcept { return static_cast<bool>(state_); }

  /// A task that has not started is removed, and get() throws cancelled; one that runs is asked to stop, and what it
  /// then gives stands. True if it had not ended. `hard` also ends the worker process that goes on all the same, after
  /// the pool's grace; a thread can only be asked.
  /// Blocks: while the callbacks of stop tokens run. Errors: std::future_error on an empty one. Stop: requested.
  bool cancel() { return state().cancel(detail::how::softly); }
  bool cancel(hard_t) { return state().cancel(detail::how::hard); }

  /// A future of `f(value)`, called in the service thread once there is a value; whatever else happens to this one
  /// happens to that one. This one is empty then. Cancelling that one cancels this one.
  /// Blocks: never; `f` must not either: other callbacks and deadlines wait for it. Errors: std::future_error on an empty
  /// one; resource_exhausted; std::bad_alloc.
  template <class F>
  auto then(F f) -> future<typename detail::following_result<F, T>::type> {
    using result = typename detail::following_result<F, T>::type;
    static_assert(
        !detail::is_not_callable<result>,
        "tandem: then() calls its function with what the task gives, as an rvalue (of void: with nothing), and "
        "this one cannot be called so");
    static_cast<void>(state());
    if constexpr (detail::is_not_callable<result>) {
      return {};
    } else {
      using state_type = detail::following<result, T, F>;
      detail::state_ptr<state_type> next(new state_type(state_, std::move(f)));
      next->follow();
      state_ = {};
      retrieved_ = true;
      return detail::future_access::make<result>(detail::state_ptr<detail::future_state>(next.give_up()));
    }
  }
  /// Calls `f()` in the service thread once the task has ended, however it has; the future may be gone by then. What `f`
  /// throws is logged.
  /// Blocks: never; `f` must not either. Errors: as then().
  template <class F>
  void on_ready(F f) {
    detail::call_when_ended(state(), std::move(f));
  }

 private:
  friend struct detail::future_access;
  friend struct detail::waiting<future>;
  explicit future(detail::state_ptr<detail::future_state> state) noexcept : state_(std::move(state)) {}
  detail::future_state& state() const {
    if (!state_) throw_empty();
    return *state_;
  }
  [[noreturn]] void throw_empty() const {
    if (retrieved_) detail::throw_future_retrieved();
    detail::throw_no_future();
  }

  detail::state_ptr<detail::future_state> state_;
  bool retrieved_ = false;
};

namespace detail {

template <class T>
inline constexpr bool is_future = false;
template <class T>
inline constexpr bool is_future<future<T>> = true;
template <class R>
concept range_of_futures = range_of_handles<R> && requires(R& range) {
  requires is_future<std::remove_cvref_t<decltype(*std::begin(range))>>;
};

template <class R>
std::vector<state_ptr<future_state>> states_of(R& range) {
  std::vector<state_ptr<future_state>> states;
  for (auto& each : range) {
    future_state& state = future_access::state(each);
    state.retain();
    states.emplace_back(&state);
  }
  return states;
}

/// Ready once it has ended; an empty one is.
template <class T>
struct waiting<future<T>> {
  static wait_entry of(const future<T>& f) {
    return {&f,
            [](const void* h) {
              return wait_state{-1, is_ready(h)};
            },
            &is_ready,
            [](const void* h, int event) {
              if (future_state* const state = state_of(h)) state->watch_event(event);
            },
            [](const void* h, int event) noexcept {
              if (future_state* const state = state_of(h)) state->unwatch_event(event);
            }};
  }

 private:
  static future_state* state_of(const void* h) noexcept {
    return future_access::peek(*static_cast<const future<T>*>(h));
  }
  static bool is_ready(const void* h) {
    future_state* const state = state_of(h);
    return state == nullptr || state->ready();
  }
};

}  // namespace detail

/// Waits until all futures of a range have ended, however they have. With a timeout: true if they have by then.
/// Blocks: until then. Threads: any. Errors: std::future_error if one is empty. Cost: no allocation.
template <detail::range_of_futures R>
void wait_all(R&& range) {
  for (auto& each : range) each.wait();
}
template <detail::range_of_futures R>
bool wait_all(R&& range, nanoseconds timeout) {
  const clock::time_point deadline = deadline_after(timeout);
  bool all = true;
  for (auto& each : range) all = each.wait_until(deadline) && all;
  return all;
}

namespace detail {

template <range_of_futures R>
std::optional<std::size_t> wait_any_future(R& range, clock::time_point deadline) {
  std::vector<future_state*> states;
  for (auto& each : range) states.push_back(&future_access::state(each));
  return wait_any_state(states, deadline);
}

/// An input range of references to futures, in the order in which they end.
template <class Iterator>
class completed_range {
 public:
  template <class R>
  completed_range(R& range, clock::time_point deadline) : deadline_(deadline) {
    for (auto at = std::begin(range); at != std::end(range); ++at) places_.push_back(at);
    collector_ = std::make_unique<future_collector>(states_of(range));
  }
  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using iterator_category = std::input_iterator_tag;
    using reference = decltype(*std::declval<const Iterator&>());
    using value_type = std::remove_cvref_t<reference>;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    iterator() noexcept = default;
    explicit iterator(completed_range& range) : range_(&range) { advance(); }
    reference operator*() const { return *range_->places_[index_]; }
    iterator& operator++() {
      advance();
      return *this;
    }
    void operator++(int) { advance(); }
    friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return i.range_ == nullptr; }

   private:
    void advance() {
      if (range_->collector_->left() == 0) {
        range_ = nullptr;
      } else if (const auto next = range_->collector_->next(range_->deadline_)) {
        index_ = *next;
      } else {
        range_->throw_late();
      }
    }
    completed_range* range_ = nullptr;
    std::size_t index_ = 0;
  };
  iterator begin() { return iterator(*this); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  [[noreturn]] void throw_late() const {
    throw timed_out("tandem: as_completed: " + std::to_string(collector_->left()) + " of " +
                    std::to_string(places_.size()) + " futures have not ended in time");
  }
  std::vector<Iterator> places_;
  clock::time_point deadline_;
  std::unique_ptr<future_collector> collector_;
};

}  // namespace detail

/// The index of a future of the range that has ended. With a timeout: nothing if none has by then.
/// Blocks: until one has. Threads: any. Errors: std::invalid_argument if there are none (and no timeout);
/// std::future_error if one is empty; std::bad_alloc. Cost: a look at each; an allocation for each while it waits.
template <detail::range_of_futures R>
std::size_t wait_any(R& range) {
  return *detail::wait_any_future(range, clock::time_point::max());
}
template <detail::range_of_futures R>
std::optional<std::size_t> wait_any(R& range, nanoseconds timeout) {
  return detail::wait_any_future(range, timeout <= nanoseconds::zero() ? clock::time_point{} : deadline_after(timeout));
}

/// A range of references to the futures of `range`, in the order in which they end: `for (auto& f : as_completed(all))`.
/// `range` stays as it is meanwhile. With a timeout, from this call on: going on to a future that has not ended by then
/// throws timed_out.
/// Blocks: begin() and ++, until the next one has ended. Threads: one. Errors: std::future_error if one is empty;
/// std::bad_alloc. Cost: two allocations and one for each future.
template <detail::range_of_futures R>
auto as_completed(R& range) {
  return detail::completed_range<decltype(std::begin(range))>(range, clock::time_point::max());
}
template <detail::range_of_futures R>
auto as_completed(R& range, nanoseconds timeout) {
  return detail::completed_range<decltype(std::begin(range))>(range, deadline_after(timeout));
}

}  // namespace tandem
