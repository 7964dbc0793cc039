#pragma once
// co_await of a future, and coroutines that give one.
#if defined(__clang__) && __clang_major__ < 15 && !defined(__cpp_impl_coroutine)
// This clang has coroutines, but not the macro by which libstdc++ knows.
#define __cpp_impl_coroutine 201902L
#define TANDEM_DEFINED_CPP_IMPL_COROUTINE
#endif
#include <coroutine>
#ifdef TANDEM_DEFINED_CPP_IMPL_COROUTINE
#undef __cpp_impl_coroutine
#undef TANDEM_DEFINED_CPP_IMPL_COROUTINE
#endif

#include <exception>
#include <mutex>
#include <optional>
#include <utility>

#include <tandem/future.hpp>

namespace tandem {

namespace detail {

/// Goes on in the service thread once the task has ended.
template <class T>
class future_awaiter {
 public:
  explicit future_awaiter(future<T> f) noexcept : future_(std::move(f)) {}
  bool await_ready() const { return future_access::state(future_).ready(); }
  // Nothing of this object may be touched once the coroutine can go on.
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> waiting) const {
    if constexpr (requires { waiting.promise().waits_for(future_access::state(future_)); })
      waiting.promise().waits_for(future_access::state(future_));
    call_when_ended(future_access::state(future_), [waiting] { waiting.resume(); });
  }
  T await_resume() { return future_.get(); }

 private:
  future<T> future_;
};

template <class T>
class coroutine_state final : public value_state<T> {
 public:
  coroutine_state() : value_state<T>(2U) {}  // the coroutine's hold and the future's
  template <class... V>
  void give(V&&... value) {
    this->value_.emplace(std::forward<V>(value)...);
  }
  void end_well() noexcept {
    waits_for_nothing();
    this->end_with_value();
  }
  void end_badly() noexcept {
    waits_for_nothing();
    this->end_with_error(std::current_exception());
  }
  void waits_for(future_state& task) {
    task.retain();
    state_ptr<future_state> held(&task);
    std::unique_lock lock(lock_);
    std::swap(awaited_, held);  // the one before goes outside of the lock
    const std::optional<how> asked = asked_;
    lock.unlock();
    if (asked) task.cancel(*asked);
  }

 private:
  bool stop(how h) override {
    std::unique_lock lock(lock_);
    if (this->done()) return false;
    if (!asked_ || h == how::hard) asked_ = h;
    const state_ptr<future_state> task = awaited_;
    lock.unlock();
    if (task) task->cancel(h);
    return true;
  }
  void waits_for_nothing() noexcept {
    state_ptr<future_state> task;
    const std::lock_guard lock(lock_);
    std::swap(task, awaited_);
  }

  std::mutex lock_;                  // of what follows
  state_ptr<future_state> awaited_;  // what the coroutine waits for, or did last
  std::optional<how> asked_;         // by cancel(), for all that it waits for from then on
};

template <class T>
class coroutine_promise_base {
 public:
  future<T> get_return_object() noexcept { return future_access::make<T>(state_ptr<future_state>(state_.get())); }
  std::suspend_never initial_suspend() const noexcept { return {}; }
  std::suspend_never final_suspend() const noexcept {
    if (!failed_) state_->end_well();
    return {};
  }
  void unhandled_exception() noexcept {
    failed_ = true;
    state_->end_badly();
  }
  void waits_for(future_state& task) { state_->waits_for(task); }

 protected:
  state_ptr<coroutine_state<T>> state_{new coroutine_state<T>};
  bool failed_ = false;
};

template <class T>
class coroutine_promise : public coroutine_promise_base<T> {
 public:
  template <class V>
  void return_value(V&& value) {
    if constexpr (std::is_reference_v<T>) {
      this->state_->give(std::addressof(value));
    } else {
      this->state_->give(std::forward<V>(value));
    }
  }
};
template <>
class coroutine_promise<void> : public coroutine_promise_base<void> {
 public:
  void return_void() { state_->give(); }
};

}  // namespace detail

/// `T value = co_await std::move(f)`: as f.get(), but the coroutine waits and not the thread. It goes on in the service
/// thread (at once if the task has ended), so that what takes long belongs into another task.
/// Errors: as get(); resource_exhausted.
template <class T>
detail::future_awaiter<T> operator co_await(future<T>&& f) {
  return detail::future_awaiter<T>(std::move(f));
}
template <class T>
detail::future_awaiter<T> operator co_await(future<T>& f) {
  return detail::future_awaiter<T>(std::move(f));
}

}  // namespace tandem

/// A function that returns tandem::future<T> may be a coroutine: it begins in the caller. cancel() of its future cancels the
/// one that it waits for, and each one that it comes to wait for later.
template <class T, class... A>
struct std::coroutine_traits<tandem::future<T>, A...> {
  using promise_type = tandem::detail::coroutine_promise<T>;
};
