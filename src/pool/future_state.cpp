#include <tandem/detail/future_state.hpp>

#include <array>
#include <future>
#include <mutex>
#include <new>
#include <stdexcept>

#include <tandem/error.hpp>

#include "observe/log.hpp"
#include "os/kernel.hpp"
#include "pool/waiting.hpp"
#include "sync/session.hpp"
#include "worker/service.hpp"

namespace tandem::detail {

namespace {

// Watchers are rare: a few locks for all states, chosen by address, keep the state small.
std::mutex& lock_of(const future_state* state) noexcept {
  static std::array<std::mutex, 64> locks;
  return locks[(reinterpret_cast<std::uintptr_t>(state) >> 6) % locks.size()];
}

}  // namespace

class event_watcher final : public future_watcher {
 public:
  explicit event_watcher(int event) noexcept : event_(event) {}
  void ended() noexcept override {
    os::signal_event(event_);
    delete this;
  }
  int event() const noexcept { return event_; }

 private:
  int event_;
};

future_state::~future_state() = default;

// ---- ending ---------------------------------------------------------------------------------------------------------

bool future_state::end(std::uint32_t ending, std::uint32_t mine) noexcept {
  std::uint32_t seen = word_.load(std::memory_order_relaxed);
  do {
    if ((seen & ended) != 0 || (seen & claimed) != mine) return false;
    // Release: what was stored is seen by whoever sees the ending. Acquire: the watchers are seen here.
  } while (!word_.compare_exchange_weak(seen, seen | ending, std::memory_order_acq_rel, std::memory_order_relaxed));
  if ((seen & (sleeping | watched)) != 0) tell(seen);
  return true;
}

void future_state::tell(std::uint32_t before) noexcept {
  if ((before & sleeping) != 0) wake_sleepers();
  if ((before & watched) == 0) return;
  const std::lock_guard lock(lock_of(this));
  for (future_watcher* one = std::exchange(watchers_, nullptr); one != nullptr;) {
    future_watcher* const next = one->next_;
    one->ended();
    one = next;
  }
}

bool future_state::claim() noexcept {
  std::uint32_t seen = word_.load(std::memory_order_relaxed);
  do {
    if ((seen & (ended | claimed)) != 0) return false;
  } while (!word_.compare_exchange_weak(seen, seen | claimed, std::memory_order_acquire, std::memory_order_relaxed));
  return true;
}

bool future_state::end_with_error(std::exception_ptr error) noexcept {
  return claim() && end_claimed_with_error(std::move(error));
}

bool future_state::end_claimed_with_error(std::exception_ptr error) noexcept {
  error_ = std::move(error);
  return end(with_error, claimed);
}

bool future_state::try_start() noexcept {
  std::uint32_t seen = word_.load(std::memory_order_relaxed);
  do {
    if ((seen & (ended | claimed | started)) != 0) return false;
  } while (!word_.compare_exchange_weak(seen, seen | started, std::memory_order_acquire, std::memory_order_relaxed));
  return true;
}

bool future_state::end_unstarted_as(std::uint32_t ending) noexcept {
  std::uint32_t seen = word_.load(std::memory_order_relaxed);
  do {
    if ((seen & (ended | claimed | started)) != 0) return false;
  } while (!word_.compare_exchange_weak(seen, seen | ending, std::memory_order_acq_rel, std::memory_order_relaxed));
  if ((seen & (sleeping | watched)) != 0) tell(seen);
  return true;
}

// ---- waiting --------------------------------------------------------------------------------------------------------

bool future_state::announce_sleep() noexcept {
  std::uint32_t seen = word_.load(std::memory_order_acquire);
  do {
    if ((seen & ended) != 0) return false;
    if ((seen & sleeping) != 0) return true;
  } while (!word_.compare_exchange_weak(seen, seen | sleeping, std::memory_order_acq_rel, std::memory_order_acquire));
  return true;
}

void future_state::sleep(clock::time_point deadline) {
  if (!announce_sleep()) return;
  const std::uint32_t seen = word();
  if ((seen & ended) == 0) os::futex_wait(word_, seen, deadline);
}

void future_state::wake_sleepers() noexcept { os::futex_wake_all(word_); }

bool future_state::look_a_while(clock::time_point deadline) {
  return pools::spin([&] { return ready(); }, deadline);
}

bool future_state::wait_until(clock::time_point deadline) {
  if (ready()) return true;
  while (help()) {
    if (ready()) return true;
  }
  if (deadline == os::now) return false;
  if (look_a_while(deadline)) return true;
  while (!ready()) {
    if (deadline != os::never && clock::now() >= deadline) return false;
    sleep(deadline);
  }
  return true;
}

bool future_state::cancel(how h) { return !ready() && stop(h); }

std::exception_ptr future_state::failure() const {
  switch (word() & ended) {
    case with_error: return error_;
    case as_cancelled: return std::make_exception_ptr(cancelled("tandem: the task was cancelled"));
    case as_late: return std::make_exception_ptr(timed_out("tandem: the task did not end by its deadline"));
    default: return nullptr;
  }
}

void future_state::rethrow_unless_value() const {
  if ((word() & ended) == with_value) return;
  if (const std::exception_ptr failed = failure()) std::rethrow_exception(failed);
}

// ---- being told -----------------------------------------------------------------------------------------------------

void future_state::add_watcher(future_watcher& watcher) {
  if (!ready()) arrange_telling();
  const std::lock_guard lock(lock_of(this));
  if ((mark(watched) & ended) != 0) return watcher.ended();
  watcher.next_ = watchers_;
  watchers_ = &watcher;
}

void future_state::remove_watcher(future_watcher& watcher) noexcept {
  const std::lock_guard lock(lock_of(this));
  for (future_watcher** at = &watchers_; *at != nullptr; at = &(*at)->next_) {
    if (*at != &watcher) continue;
    *at = watcher.next_;
    return;
  }
}

void future_state::watch_event(int event) {
  auto watcher = std::make_unique<event_watcher>(event);
  add_watcher(*watcher);
  static_cast<void>(watcher.release());
}

void future_state::unwatch_event(int event) noexcept {
  const std::lock_guard lock(lock_of(this));
  for (future_watcher** at = &watchers_; *at != nullptr; at = &(*at)->next_) {
    auto* const watcher = dynamic_cast<event_watcher*>(*at);
    if (watcher == nullptr || watcher->event() != event) continue;
    *at = watcher->next_;
    delete watcher;
    return;
  }
}

// ---- several --------------------------------------------------------------------------------------------------------

struct future_collector::entry final : future_watcher {
  future_collector* collector = nullptr;
  entry* below = nullptr;
  state_ptr<future_state> state;
  bool added = false;
  void ended() noexcept override { collector->put(*this); }
};

future_collector::future_collector(std::vector<state_ptr<future_state>> states)
    : entries_(std::make_unique<entry[]>(states.size())), count_(states.size()), left_(states.size()) {
  for (std::size_t i = 0; i < count_; ++i) {
    entries_[i].collector = this;
    entries_[i].state = std::move(states[i]);
  }
  try {
    for (std::size_t i = 0; i < count_; ++i) {
      entries_[i].state->add_watcher(entries_[i]);
      entries_[i].added = true;
    }
  } catch (...) {
    for (std::size_t i = 0; i < count_ && entries_[i].added; ++i) entries_[i].state->remove_watcher(entries_[i]);
    throw;
  }
}

future_collector::~future_collector() {
  for (std::size_t i = 0; i < count_; ++i) entries_[i].state->remove_watcher(entries_[i]);
}

// Whoever removes the entry waits for the lock that the caller holds: nothing here is gone meanwhile.
void future_collector::put(entry& one) noexcept {
  one.below = put_.load(std::memory_order_relaxed);
  while (!put_.compare_exchange_weak(one.below, &one, std::memory_order_release, std::memory_order_relaxed)) {
  }
  if (word_.exchange(1, std::memory_order_acq_rel) == 2) os::futex_wake_all(word_);
}

std::optional<std::size_t> future_collector::take() noexcept {
  if (first_ == nullptr) {
    word_.store(0, std::memory_order_seq_cst);
    for (entry* one = put_.exchange(nullptr, std::memory_order_acq_rel); one != nullptr;) {
      entry* const next = one->below;
      one->below = first_;  // turned round: the first one first
      first_ = one;
      one = next;
    }
    if (first_ == nullptr) return std::nullopt;
  }
  const auto index = static_cast<std::size_t>(first_ - entries_.get());
  first_ = first_->below;
  --left_;
  return index;
}

std::optional<std::size_t> future_collector::next(clock::time_point deadline) {
  for (;;) {
    if (const auto found = take()) return found;
    if (helped_ < count_) {
      entries_[helped_++].state->help();
      continue;
    }
    if (pools::spin([&] { return word_.load(std::memory_order_acquire) == 1; }, deadline)) continue;
    if (deadline == os::now || (deadline != os::never && clock::now() >= deadline)) return std::nullopt;
    std::uint32_t none = 0;
    if (word_.compare_exchange_strong(none, 2, std::memory_order_acq_rel) || none == 2)
      os::futex_wait(word_, 2, deadline);
  }
}

std::optional<std::size_t> wait_any_state(std::span<future_state* const> states, clock::time_point deadline) {
  if (states.empty() && deadline == os::never)
    throw std::invalid_argument("tandem: wait_any without a future would wait for ever");
  for (std::size_t i = 0; i < states.size(); ++i) {
    if (states[i]->ready()) return i;
  }
  if (states.empty() || deadline == os::now) return std::nullopt;
  std::vector<state_ptr<future_state>> held;
  held.reserve(states.size());
  for (future_state* state : states) {
    state->retain();
    held.emplace_back(state);
  }
  return future_collector(std::move(held)).next(deadline);
}

// ---- callbacks ------------------------------------------------------------------------------------------------------

static_assert(sizeof(worker::service_hold) <= 16 && alignof(worker::service_hold) <= 8);

service_keeper::service_keeper() { ::new (static_cast<void*>(hold_)) worker::service_hold; }
service_keeper::~service_keeper() { std::launder(reinterpret_cast<worker::service_hold*>(hold_))->~service_hold(); }

future_callback::future_callback() = default;
future_callback::~future_callback() = default;
void future_callback::ended() noexcept { worker::post(*this); }
void future_callback::run() noexcept {
  const std::unique_ptr<future_callback> self(this);
  try {
    call();
  } catch (const std::exception& e) {
    observe::log(log_level::error, std::string("a callback of a future threw: ") + e.what());
  } catch (...) {
    observe::log(log_level::error, "a callback of a future threw something that is no std::exception");
  }
}

void throw_no_future() { throw std::future_error(std::future_errc::no_state); }
void throw_future_retrieved() { throw std::future_error(std::future_errc::future_already_retrieved); }

}  // namespace tandem::detail
