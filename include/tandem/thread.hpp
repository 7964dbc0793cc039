#pragma once
// A thread with a result. Like std::jthread, and with the members of tandem::process.
#include <functional>
#include <memory>
#include <tuple>
#include <variant>

#include <tandem/detail/call.hpp>
#include <tandem/detail/channel_wait.hpp>
#include <tandem/detail/stop_all.hpp>
#include <tandem/detail/thread_core.hpp>
#include <tandem/error.hpp>
#include <tandem/stop_source.hpp>

namespace tandem {

struct thread_options {
  std::string name = {};
};

namespace detail {

template <class R>
class thread_value : public thread_core {
 public:
  using thread_core::thread_core;
  R take() {
    leave_the_value_once();
    if (!value_) rethrow();
    if constexpr (std::is_void_v<R>) {
      return;
    } else if constexpr (std::is_reference_v<R>) {
      return static_cast<R>(**value_);
    } else {
      return std::move(*value_);
    }
  }

 protected:
  using stored = std::conditional_t<std::is_void_v<R>, std::monostate,
                                    std::conditional_t<std::is_reference_v<R>, std::remove_reference_t<R>*, R>>;
  std::optional<stored> value_;
};

template <class R, class F, class... A>
class thread_call final : public thread_value<R> {
 public:
  template <class G, class... B>
  explicit thread_call(std::string name, G&& f, B&&... arguments)
      : thread_value<R>(std::move(name)), call_(std::in_place, std::forward<G>(f), std::forward<B>(arguments)...) {}

 private:
  void run() override {
    const auto call = [this](F& f, A&... arguments) -> R {
      static_cast<void>(this);  // used only with a token
      if constexpr (takes_token<F, A...>) {
        return call_as<R>(std::move(f), this->stops().get_token(), std::move(arguments)...);
      } else {
        return call_as<R>(std::move(f), std::move(arguments)...);
      }
    };
    if constexpr (std::is_void_v<R>) {
      std::apply(call, *call_);
      this->value_.emplace();
    } else if constexpr (std::is_reference_v<R>) {
      this->value_.emplace(std::addressof(std::apply(call, *call_)));
    } else {
      this->value_.emplace(std::apply(call, *call_));
    }
  }
  void release() override { call_.reset(); }

  std::optional<std::tuple<F, A...>> call_;
};

}  // namespace detail

/// A thread that runs a function once and keeps what it returned or threw. Move-only; a default-constructed or
/// moved-from one is empty. Its destructor asks for a stop and waits, as std::jthread's does: a thread can only be
/// asked, so that can take for ever (why there is no kill(): docs/why-no-thread-kill.md).
/// Threads: const members, join and request_stop at once; moves and destruction by one thread. Fork: in a child made
/// by fork() the thread does not exist; its destructor there does nothing.
template <class R>
class thread {
  static_assert(!detail::is_not_callable<R>,
                "tandem: this function cannot be called with these arguments (they are decayed and passed as rvalues, "
                "with a std::stop_token before them if the function takes one)");
  static_assert(
      !std::is_rvalue_reference_v<R>,
      "tandem: the function returns an rvalue reference, to what is gone when the thread has ended: return a value");

 public:
  /// An empty one.
  thread() noexcept = default;
  thread(thread&&) noexcept = default;
  /// Ends its own as the destructor does, then takes the other's.
  /// Blocks: until its own has ended. Stop: requested of its own.
  thread& operator=(thread&& other) noexcept {
    if (this != &other) {
      finish();
      core_ = std::move(other.core_);
    }
    return *this;
  }
  ~thread() { finish(); }

  /// Runs `f(arguments...)`, or `f(stop_token, arguments...)` if it takes one, in a new thread, at once. Function and
  /// arguments are decayed and copied; they are destroyed in that thread when the function has ended.
  /// Blocks: never. Errors: resource_exhausted (pthread_create); std::invalid_argument for a name of more than 255 bytes
  /// or with a zero byte; unsupported if a seccomp filter keeps glibc
  /// from starting threads; what copying throws. Cost: one thread, two allocations.
  template <class F, class... A>
  requires(!std::same_as<std::decay_t<F>, thread> && !unit_options<std::decay_t<F>>) explicit thread(F&& f,
                                                                                                     A&&... arguments)
      : thread(thread_options{}, std::forward<F>(f), std::forward<A>(arguments)...) {}
  template <class F, class... A>
  thread(thread_options options, F&& f, A&&... arguments) {
    detail::require_call<R, F, A...>();
    if constexpr (detail::gives_result<R, F, A...>) {
      core_ = std::make_unique<detail::thread_call<R, std::decay_t<F>, std::decay_t<A>...>>(
          std::move(options.name), std::forward<F>(f), std::forward<A>(arguments)...);
      core_->start();
    }
  }

  /// Waits until the thread has ended. Any number of times; never throws for what the function did.
  /// Blocks: until then. Errors: std::system_error: invalid_argument on an empty one, resource_deadlock_would_occur
  /// in the thread itself.
  void join() { core().join(); }
  /// As join(), but for no longer than `timeout`, or until `deadline`: true if the thread has ended.
  /// Blocks: until then. Errors: as join().
  bool join_for(nanoseconds timeout) { return core().join_until(deadline_after(timeout)); }
  bool join_until(clock::time_point deadline) { return core().join_until(deadline); }
  /// Joins, then gives the value that the function returned, once, or throws what it threw.
  /// Blocks: until the thread has ended. Errors: what the function threw; worker_exited if it called pthread_exit;
  /// std::future_error the second time, or on an empty one.
  R get() {
    if (!core_) detail::throw_no_state();
    core_->join();
    return core_->take();
  }

  /// True until the function has ended.
  bool running() const noexcept { return core_ && !core_->ended(); }
  /// True if there is a thread that was not joined yet.
  bool joinable() const noexcept { return core_ && !core_->joined(); }
  /// How the function ended; empty while it runs.
  std::optional<exit_status> status() const noexcept {
    return core_ && core_->ended() ? std::optional(core_->status()) : std::nullopt;
  }
  /// Asks the function to stop: the tokens of this thread see it. True if this call made the request.
  /// Blocks: while the callbacks of tokens run. Errors: none; a callback that throws terminates.
  bool request_stop() { return core_ && core_->stops().request_stop(); }
  /// What asks this thread for a stop, also after this object is gone. Of an empty one: a source of nobody.
  /// Errors: std::bad_alloc.
  tandem::stop_source get_stop_source() const {
    return core_ ? core_->get_stop_source() : tandem::stop_source(std::stop_source(std::nostopstate));
  }
  /// The name given to it, or "thread-N"; of an empty one: empty.
  const std::string& name() const noexcept {
    static const std::string none;
    return core_ ? core_->name() : none;
  }
  /// The kernel's thread id; 0 of an empty one.
  /// Blocks: until the new thread has told it, a moment after its start.
  pid_t id() const noexcept { return core_ ? core_->id() : 0; }
  /// The pthread_t; valid until the thread is joined.
  pthread_t native_handle() const noexcept { return core_ ? core_->handle() : pthread_t{}; }

 private:
  detail::thread_value<R>& core() const {
    if (!core_) detail::throw_empty_join();
    return *core_;
  }
  void finish() noexcept {
    if (!core_) return;
    if (!core_->of_this_process()) {
      static_cast<void>(core_.release());  // a copy made by fork(): whoever waits here would wait for ever
    } else {
      core_->stops().request_stop();
      core_->join();
      core_.reset();
    }
  }

  friend struct detail::waiting<thread>;
  std::unique_ptr<detail::thread_value<R>> core_;
};

/// Ready once it has ended; an empty one is.
template <class R>
struct detail::waiting<thread<R>> {
  static wait_entry of(const thread<R>& t) {
    return {&t,
            [](const void* h) {
              return wait_state{-1, !static_cast<const thread<R>*>(h)->running()};
            },
            [](const void* h) { return !static_cast<const thread<R>*>(h)->running(); },
            [](const void* h, int event) {
              if (const auto& core = static_cast<const thread<R>*>(h)->core_) core->watch(event);
            },
            [](const void* h, int event) noexcept {
              if (const auto& core = static_cast<const thread<R>*>(h)->core_) core->unwatch(event);
            }};
  }
};

template <class F, class... A>
requires(!unit_options<F>) thread(F, A...)
->thread<typename detail::deduced<F, A...>::type>;
template <class F, class... A>
thread(thread_options, F, A...) -> thread<typename detail::deduced<F, A...>::type>;

}  // namespace tandem
