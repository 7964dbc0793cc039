#pragma once
// What all pools have beyond submit(): map, map_unordered, for_each and transform_reduce, written once over
//   future<R> Pool::submit(task_options, F, A...)            // what it takes is the pool's affair
//   future<R> Pool::submit_here(task_options, F, A...)       // of a pool whose tasks may see this memory
//   static constexpr tasks_see Pool::memory; bool Pool::sees_memory() const noexcept   // the latter where memory is either
//   unsigned Pool::workers() const noexcept
#include <algorithm>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <iterator>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <tandem/detail/pool_chunk.hpp>
#include <tandem/detail/pool_options.hpp>
#include <tandem/future.hpp>

namespace tandem {

struct map_options {
  std::size_t window = 0;  // elements that were read and not yet taken; 0: 4 for each worker
  // Elements of a task; 0: as many as make it worth while, and one where a task may die alone, in a process.
  std::size_t chunk = 0;
  std::function<void(std::size_t done, std::optional<std::size_t> total)> progress = {};  // in the consumer's thread
  task_options task = {};
};

namespace detail {

enum class tasks_see { this_memory, copies, either };

/// Reads a range element by element, and no sooner than it is asked to. A range that was an rvalue is owned.
template <class Range>
class element_source {
 public:
  using range_type = std::remove_reference_t<Range>;
  using value_type = std::ranges::range_value_t<range_type>;
  using reference = std::ranges::range_reference_t<range_type>;
  /// Elements stay where they are while others are read.
  static constexpr bool stays = std::ranges::forward_range<range_type> && std::is_lvalue_reference_v<reference>;

  explicit element_source(Range&& range) : range_(hold(std::forward<Range>(range))) {}

  /// Reads the next element into `into`; false at the end, or if the range throws: failure() is that then.
  template <class Element>
  bool read(std::vector<Element>& into) {
    if (ended_) return false;
    try {
      if (!at_) {
        at_.emplace(std::ranges::begin(range()));
      } else {
        ++*at_;
      }
      ended_ = *at_ == std::ranges::end(range());
      if (!ended_) put(into);
    } catch (...) {
      fail(std::current_exception());
    }
    return !ended_;
  }
  bool ended() const noexcept { return ended_; }
  void end() noexcept { ended_ = true; }
  void fail(std::exception_ptr failure) noexcept {
    ended_ = true;
    failure_ = std::move(failure);
  }
  std::exception_ptr take_failure() noexcept { return std::exchange(failure_, nullptr); }
  std::optional<std::size_t> total() const {
    if constexpr (std::ranges::sized_range<range_type>) {
      return static_cast<std::size_t>(std::ranges::size(range()));
    } else {
      return std::nullopt;
    }
  }

 private:
  static constexpr bool owned = !std::is_lvalue_reference_v<Range>;
  using held = std::conditional_t<owned, range_type, range_type*>;
  static held hold(Range&& range) {
    if constexpr (owned) {
      return std::move(range);
    } else {
      return std::addressof(range);
    }
  }
  range_type& range() const noexcept {
    if constexpr (owned) {
      return const_cast<range_type&>(range_);
    } else {
      return *range_;
    }
  }
  template <class Element>
  void put(std::vector<Element>& into) {
    if constexpr (referred_element<Element>::is_placed) {
      into.push_back({std::addressof(**at_)});
    } else if constexpr (owned && !std::ranges::view<range_type> && std::is_lvalue_reference_v<reference> &&
                         !std::is_const_v<std::remove_reference_t<reference>>) {
      into.push_back(std::move(**at_));  // nobody else has them
    } else {
      into.push_back(static_cast<Element>(**at_));
    }
  }

  held range_;
  std::optional<std::ranges::iterator_t<range_type>> at_;
  bool ended_ = false;
  std::exception_ptr failure_ = nullptr;
};

/// How many elements make a task: so many that what a task costs does not show, and no more than keep all workers busy.
class chunk_size {
 public:
  chunk_size(const map_options& options, unsigned workers, bool dies_alone)
      : window_(options.window != 0 ? options.window : 4 * std::size_t{std::max(1U, workers)}) {
    // Those are meant for each element, as is the end of a process.
    const bool alone = dies_alone || options.task.deadline > nanoseconds::zero() || options.task.retries != 0;
    if (options.chunk != 0) {
      least_ = most_ = std::min(options.chunk, window_);
    } else if (!alone) {
      most_ = std::max<std::size_t>(1, window_ / (2 * std::size_t{std::max(1U, workers)}));
    }
    size_ = least_;
  }
  std::size_t window() const noexcept { return window_; }
  std::size_t get() const noexcept { return size_; }
  void learn(std::size_t elements, nanoseconds took) noexcept {
    if (elements == 0) return;
    constexpr double worth_while_ns = 50'000;
    const double each = std::max(1.0, static_cast<double>(took.count()) / static_cast<double>(elements));
    mean_ns_ = mean_ns_ == 0 ? each : (3 * mean_ns_ + each) / 4;
    size_ = std::clamp(static_cast<std::size_t>(worth_while_ns / mean_ns_), least_, most_);
  }

 private:
  std::size_t window_;
  std::size_t least_ = 1;
  std::size_t most_ = 1;
  std::size_t size_ = 1;
  double mean_ns_ = 0;
};

/// The chunks in flight, in the order in which they were submitted.
template <class Pool, class R, class F, class Range, class Element>
class chunk_flights {
 public:
  chunk_flights(Pool& pool, F f, Range&& range, map_options options)
      : pool_(&pool),
        call_{std::move(f)},
        source_(std::forward<Range>(range)),
        size_(options, pool.workers(), !see_this_memory(pool)),
        options_(std::move(options)) {
    total_ = source_.total();
  }
  chunk_flights(chunk_flights&&) = default;  // NOLINT: what the user gave may throw
  chunk_flights& operator=(chunk_flights&&) = delete;
  ~chunk_flights() { cancel(); }

  struct chunk {
    std::size_t first = 0;
    chunk_results<R> results = {};
  };

  /// Reads and submits for as long as the window has room.
  void fill() {
    while (!source_.ended() && size_.window() - held_ >= size_.get()) {
      std::vector<Element> elements;
      elements.reserve(size_.get());
      while (elements.size() < size_.get() && source_.read(elements)) {
      }
      if (elements.empty()) return;
      submit(std::move(elements));
    }
  }
  bool empty() const noexcept { return flights_.empty(); }
  /// The next chunk, in order or the first that has ended. Errors: what the task as a whole ended with.
  chunk take_first() { return take(0); }
  chunk take_any() {
    std::vector<future_state*> states;
    for (const flight& each : flights_) states.push_back(&future_access::state(each.result));
    return take(*wait_any_state(states, clock::time_point::max()));
  }
  /// One element was taken by the consumer.
  void deliver() noexcept {
    --held_;
    ++delivered_;
  }
  void report() const {
    if (options_.progress) options_.progress(delivered_ + 1, total_);
  }
  /// What the range threw, once.
  std::exception_ptr take_failure() noexcept { return source_.take_failure(); }
  /// No more is read; what has not begun is not begun.
  void cancel() noexcept {
    source_.end();
    for (flight& each : flights_) each.result.cancel();
    flights_.clear();
  }
  /// The same, and waits for what runs.
  void cancel_and_wait() noexcept {
    source_.end();
    for (flight& each : flights_) each.result.cancel();
    for (flight& each : flights_) each.result.wait();
    flights_.clear();
  }

 private:
  struct flight {
    std::size_t first;
    std::size_t size;
    future<chunk_results<R>> result;
  };

  static bool see_this_memory(const Pool& pool) noexcept {
    if constexpr (Pool::memory == tasks_see::either) {
      return pool.sees_memory();
    } else {
      return Pool::memory == tasks_see::this_memory;
    }
  }
  void submit(std::vector<Element> elements) {
    const std::size_t count = elements.size();
    try {
      flights_.push_back({read_, count, start(std::move(elements))});
    } catch (...) {
      return source_.fail(std::current_exception());  // closed: thrown where these elements would be
    }
    read_ += count;
    held_ += count;
  }
  future<chunk_results<R>> start(std::vector<Element> elements) {
    if constexpr (referred_element<Element>::is_placed) {
      return pool_->submit_here(options_.task, call_, std::move(elements));
    } else {
      return pool_->submit(options_.task, call_, std::move(elements));
    }
  }
  chunk take(std::size_t index) {
    const auto at = flights_.begin() + static_cast<std::ptrdiff_t>(index);
    at->result.wait();
    flight taken = std::move(*at);
    flights_.erase(at);
    chunk got{taken.first, taken.result.get()};
    size_.learn(got.results.values.size(), got.results.took);
    return got;
  }

  Pool* pool_;
  chunk_call<R, F, Element> call_;
  element_source<Range> source_;
  chunk_size size_;
  map_options options_;
  std::optional<std::size_t> total_;
  std::deque<flight> flights_;
  std::size_t read_ = 0;
  std::size_t held_ = 0;  // read and not delivered
  std::size_t delivered_ = 0;
};

/// What map() and map_unordered() give: an input range, to be run through once, in one thread. It cancels what is left
/// when it is destroyed. It can be moved until begin() was called.
template <class Pool, class R, class F, class Range, bool InOrder>
class mapped {
  using stored = element_result<R>;
  using flights = chunk_flights<Pool, R, F, Range, typename element_source<Range>::value_type>;

 public:
  mapped(Pool& pool, F f, Range&& range, map_options options)
      : flights_(pool, std::move(f), std::forward<Range>(range), std::move(options)) {}

  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using iterator_category = std::input_iterator_tag;
    using value_type = std::conditional_t<InOrder, std::remove_cvref_t<R>, std::pair<std::size_t, R>>;
    using reference =
        std::conditional_t<InOrder, std::conditional_t<std::is_reference_v<R>, R, stored&>, std::pair<std::size_t, R>&>;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    iterator() noexcept = default;
    explicit iterator(mapped& range) noexcept : range_(&range) {}
    reference operator*() const noexcept {
      if constexpr (InOrder && std::is_reference_v<R>) {
        return static_cast<R>(**range_->current_);
      } else {
        return *range_->current_;
      }
    }
    iterator& operator++() {
      range_->advance();
      return *this;
    }
    void operator++(int) { range_->advance(); }
    friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return i.at_end(); }

   private:
    bool at_end() const noexcept { return range_ == nullptr || !range_->current_; }
    mapped* range_ = nullptr;
  };

  /// Fills the window, and waits for the first result. Errors: what the function or the input threw there.
  iterator begin() {
    if (!begun_) {
      begun_ = true;
      go_on();
    }
    return iterator(*this);
  }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  using current = std::conditional_t<InOrder, stored, std::pair<std::size_t, R>>;

  void advance() {
    current_.reset();
    flights_.deliver();
    go_on();
  }
  // Whatever is thrown ends the range.
  void go_on() {
    try {
      flights_.fill();
      if (find_next()) flights_.report();
    } catch (...) {
      current_.reset();
      flights_.cancel();
      throw;
    }
  }
  bool find_next() {
    for (;; flights_.fill()) {
      if (chunk_) {
        if (next_ < chunk_->results.values.size()) return set_current();
        if (chunk_->results.failure) std::rethrow_exception(std::exchange(chunk_->results.failure, nullptr));
        chunk_.reset();
      }
      if (flights_.empty()) break;
      next_ = 0;
      chunk_.emplace(InOrder ? flights_.take_first() : flights_.take_any());
    }
    if (const std::exception_ptr failed = flights_.take_failure()) std::rethrow_exception(failed);
    return false;
  }
  bool set_current() {
    auto&& value = chunk_->results.values[next_];
    if constexpr (InOrder) {
      current_.emplace(std::move(value));
    } else if constexpr (std::is_reference_v<R>) {
      current_.emplace(chunk_->first + next_, *value);
    } else {
      current_.emplace(chunk_->first + next_, std::move(value));
    }
    ++next_;
    return true;
  }

  flights flights_;
  std::optional<typename flights::chunk> chunk_;
  std::size_t next_ = 0;
  std::optional<current> current_;
  bool begun_ = false;
};

template <class Pool>
class pool_members {
 public:
  /// `f` of each element, in order: `for (int n : pool.map(parse, paths))`. The input is read in the consumer's thread, no
  /// further than the window goes: begin() fills it, ++ fills it again. An rvalue range is owned, another one has to stay.
  /// Elements are copied, or moved out of a container that is owned.
  /// Blocks: begin() and ++, until the next result is there. Threads: one. Stop: leaving early cancels what is left.
  /// Errors: none here; begin() and ++ throw what `f` or the input threw, at its position, and what submit() throws; then
  /// the range ends. Cost: several elements make one task where they are quick and run in threads.
  template <class F, std::ranges::input_range R>
  auto map(F f, R&& range, map_options options = {}) {
    return make_mapped<true>(std::move(f), std::forward<R>(range), std::move(options));
  }
  /// The same in the order in which they end, as pairs of index and result.
  /// Blocks: as map(). Errors: as map().
  template <class F, std::ranges::input_range R>
  auto map_unordered(F f, R&& range, map_options options = {}) {
    return make_mapped<false>(std::move(f), std::forward<R>(range), std::move(options));
  }
  /// Calls `f` with each element: with the element itself in a pool of threads, with a copy in another process.
  /// Blocks: until all are done. Errors: what `f` or the input threw first, when no call runs any more; what submit()
  /// throws.
  template <class F, std::ranges::input_range R>
  void for_each(F f, R&& range, map_options options = {}) {
    if constexpr (Pool::memory == tasks_see::this_memory) {
      each_here(std::move(f), std::forward<R>(range), std::move(options));
    } else if constexpr (Pool::memory == tasks_see::copies) {
      each_copy(std::move(f), std::forward<R>(range), std::move(options));
    } else if (self().sees_memory()) {
      each_here(std::move(f), std::forward<R>(range), std::move(options));
    } else {
      each_copy(std::move(f), std::forward<R>(range), std::move(options));
    }
  }
  /// `reduce(...reduce(reduce(init, transform(first)), transform(second))...)`: transformed in the pool, reduced in order
  /// by the caller.
  /// Blocks: until all are done. Errors: what `transform`, `reduce` or the input threw first; what submit() throws.
  template <std::ranges::input_range R, class T, class Reduce, class Transform>
  T transform_reduce(R&& range, T init, Reduce reduce, Transform transform, map_options options = {}) {
    for (auto&& each : map(std::move(transform), std::forward<R>(range), std::move(options)))
      init = std::invoke(reduce, std::move(init), std::move(each));
    return init;
  }

 protected:
  pool_members() = default;
  ~pool_members() = default;

 private:
  Pool& self() noexcept { return static_cast<Pool&>(*this); }

  template <bool InOrder, class F, class R>
  auto make_mapped(F f, R&& range, map_options options) {
    using value = typename element_source<R>::value_type;
    static_assert(callable_with<F, value>,
                  "tandem: this function cannot be called with an element of this range (they are copied and passed as "
                  "rvalues, with a std::stop_token before them if the function takes one)");
    using call_result = typename deduced<F, value>::type;
    static_assert(!std::is_void_v<call_result>, "tandem: map() gives results, and this function has none: for_each()");
    if constexpr (Pool::memory != tasks_see::this_memory) require_callable<F>();
    return mapped<Pool, call_result, F, R, InOrder>(self(), std::move(f), std::forward<R>(range), std::move(options));
  }

  template <class F, class R>
  void each_here(F f, R&& range, map_options options) {
    using source = element_source<R>;
    if constexpr (source::stays) {
      run_each<placed<std::remove_reference_t<typename source::reference>>>(std::move(f), std::forward<R>(range),
                                                                            std::move(options));
    } else {
      each_copy(std::move(f), std::forward<R>(range), std::move(options));
    }
  }
  template <class F, class R>
  void each_copy(F f, R&& range, map_options options) {
    if constexpr (Pool::memory != tasks_see::this_memory) require_callable<F>();
    run_each<typename element_source<R>::value_type>(std::move(f), std::forward<R>(range), std::move(options));
  }
  template <class Element, class F, class R>
  void run_each(F f, R&& range, map_options options) {
    constexpr bool is_callable = chunk_call<void, F, Element>::is_callable;
    static_assert(is_callable,
                  "tandem: for_each() cannot call this function with an element of this range (with the element itself "
                  "in a pool of threads, with a copy in another process, and with a std::stop_token before it "
                  "if the function takes one)");
    if constexpr (is_callable) each_flight<Element>(std::move(f), std::forward<R>(range), std::move(options));
  }
  template <class Element, class F, class R>
  void each_flight(F f, R&& range, map_options options) {
    chunk_flights<Pool, void, F, R, Element> flights(self(), std::move(f), std::forward<R>(range), std::move(options));
    try {
      for (flights.fill(); !flights.empty(); flights.fill()) {
        const auto chunk = flights.take_first();
        for (std::size_t i = 0; i < chunk.results.values.size(); ++i) {
          flights.report();
          flights.deliver();
        }
        if (chunk.results.failure) std::rethrow_exception(chunk.results.failure);
      }
    } catch (...) {
      flights.cancel_and_wait();  // they may see elements of the caller's
      throw;
    }
    if (const std::exception_ptr failed = flights.take_failure()) std::rethrow_exception(failed);
  }
};

}  // namespace detail
}  // namespace tandem
