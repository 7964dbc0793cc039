#pragma once
// One task of a pool of threads: the function, its arguments, and what it gave, in one piece of memory that is used again.
#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <stop_token>
#include <string>
#include <tuple>
#include <utility>

#include <tandem/detail/call.hpp>
#include <tandem/detail/export.hpp>
#include <tandem/detail/future_state.hpp>
#include <tandem/detail/pool_options.hpp>
#include <tandem/future.hpp>

namespace tandem::pools {
class thread_pool_core;
class pool_worker;
struct task_extra;
}  // namespace tandem::pools

namespace tandem::detail {

/// Memory for tasks, taken from what tasks have left.
TANDEM_EXPORT void* allocate_task(std::size_t bytes);
TANDEM_EXPORT void free_task(void* memory, std::size_t bytes) noexcept;

class TANDEM_EXPORT thread_task : public future_state {
 public:
  thread_task() noexcept : future_state(2) {}  // the pool's hold and the future's
  ~thread_task() override;

  /// Sees cancel(), the deadline, and the end of the pool. Errors: std::bad_alloc.
  std::stop_token token();

 protected:
  /// Calls the function and stores what it returns, or gives what it throws; then function and arguments are gone.
  virtual std::exception_ptr execute() noexcept = 0;
  /// Destroys the function and its arguments.
  virtual void drop() noexcept = 0;

 private:
  friend class pools::thread_pool_core;
  friend class pools::pool_worker;
  friend struct pools::task_extra;
  bool help() override;
  bool stop(how) override;
  void ask_stop();

  pools::thread_pool_core* core_ = nullptr;  // set by submit
  pools::task_extra* extra_ = nullptr;       // what task_options asked for, if anything
};

template <class R, class F, class... A>
class thread_call_task final : public value_state<R, thread_task> {
 public:
  template <class G, class... B>
  explicit thread_call_task(G&& f, B&&... arguments)
      : call_(std::in_place, std::forward<G>(f), std::forward<B>(arguments)...) {}

  static void* operator new(std::size_t bytes) { return allocate_task(bytes); }
  static void operator delete(void* memory, std::size_t bytes) noexcept { free_task(memory, bytes); }
  // For what is aligned to more than usual.
  static void* operator new(std::size_t bytes, std::align_val_t to) { return ::operator new(bytes, to); }
  static void operator delete(void* memory, std::size_t, std::align_val_t to) noexcept {
    ::operator delete(memory, to);
  }

 private:
  std::exception_ptr execute() noexcept override {
    return this->store_by_calling([this]() -> R {
      struct dropping {
        std::optional<std::tuple<F, A...>>& call;
        ~dropping() { call.reset(); }
      } const end{call_};
      return std::apply(
          [this](F& f, A&... arguments) -> R {
            static_cast<void>(this);  // used only with a token
            if constexpr (takes_token<F, A...>) {
              return call_as<R>(std::move(f), this->token(), std::move(arguments)...);
            } else {
              return call_as<R>(std::move(f), std::move(arguments)...);
            }
          },
          *call_);
    });
  }
  void drop() noexcept override { call_.reset(); }

  std::optional<std::tuple<F, A...>> call_;
};

/// Owns the threads and their tasks.
class TANDEM_EXPORT thread_engine {
 public:
  struct start {
    unsigned workers = 0;
    std::string name = {};
    std::size_t max_pending = 0;
    std::function<void()> initializer = {};
    bool in_caller = false;  // no threads: submit() runs the task
  };
  explicit thread_engine(start);
  thread_engine(thread_engine&&) noexcept;
  thread_engine& operator=(thread_engine&&) noexcept;
  ~thread_engine();

  /// Takes over both holds if it throws; else the pool's.
  void submit(thread_task&, const task_options*) const;
  bool try_submit(thread_task&, const task_options*) const;  // false: dropped
  void close() const noexcept;
  bool wait_until(clock::time_point deadline) const;
  shutdown_report shutdown(shutdown_options) const;
  pool_stats stats() const;
  unsigned workers() const noexcept;

 private:
  std::unique_ptr<pools::thread_pool_core> core_;
};

/// The task of a call, not yet submitted.
template <class F, class... A>
auto* make_thread_task(F&& f, A&&... arguments) {
  using R = task_result<F, A...>;
  static_assert(!is_not_callable<R>,
                "tandem: this function cannot be called with these arguments (they are decayed and passed as rvalues, "
                "with a std::stop_token before them if the function takes one)");
  static_assert(!std::is_rvalue_reference_v<R>,
                "tandem: the function returns an rvalue reference, to what is gone when it has ended: return a value");
  return new thread_call_task<R, std::decay_t<F>, std::decay_t<A>...>(std::forward<F>(f),
                                                                      std::forward<A>(arguments)...);
}
template <class R>
future<R> submit_task(const thread_engine& engine, thread_task* task, const task_options* options) {
  engine.submit(*task, options);
  return future_access::make<R>(state_ptr<future_state>(task));
}
template <class R>
std::optional<future<R>> try_submit_task(const thread_engine& engine, thread_task* task, const task_options* options) {
  if (!engine.try_submit(*task, options)) return std::nullopt;
  return future_access::make<R>(state_ptr<future_state>(task));
}

}  // namespace tandem::detail
