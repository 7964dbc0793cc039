#pragma once
// A pool whose kind is chosen at run time.
#include <utility>
#include <variant>

#include <tandem/detail/process_handle.hpp>
#include <tandem/executor.hpp>
#include <tandem/process_pool.hpp>
#include <tandem/thread_pool.hpp>

namespace tandem {

/// So many threads; 0: as many as the CPUs that this program may use.
struct threads {
  unsigned workers;
  /// As many as that.
  explicit constexpr threads(unsigned n = 0) noexcept : workers(n) {}
};
/// So many processes; 0: as many as the CPUs that this program may use.
struct processes {
  unsigned workers;
  /// As many as that.
  explicit constexpr processes(unsigned n = 0) noexcept : workers(n) {}
};
/// submit() runs the task before it returns, in the thread that calls it: for debugging.
struct inline_execution_t {};
inline constexpr inline_execution_t inline_execution{};

/// Runs tasks as it was told when it was made. It takes what any kind of pool can run, so that another word is enough to
/// change it. Movable; a moved-from one may only be destroyed or assigned to.
/// Threads: members at once; moves and destruction by one thread. Fork: as the pool that it is.
class pool : public detail::pool_members<pool> {
 public:
  /// One of threads; one of processes; or one without workers, where tasks run in the caller.
  /// Errors: as thread_pool and process_pool.
  explicit pool(threads how) : pool(thread_pool_options{.workers = how.workers}) {}
  explicit pool(processes how) : pool(process_pool_options{.workers = how.workers}) {}
  explicit pool(inline_execution_t)
      : engine_(std::in_place_type<detail::thread_engine>, in_threads{.workers = 1, .in_caller = true}) {}
  explicit pool(thread_pool_options options)
      : engine_(
            std::in_place_type<detail::thread_engine>,
            in_threads{options.workers, std::move(options.name), options.max_pending, std::move(options.initializer)}) {
  }
  explicit pool(process_pool_options options)
      : engine_(std::in_place_type<detail::process_engine>, std::move(options)) {}
  pool(pool&&) noexcept = default;
  /// Closes its own, waits and joins as the destructor does, then takes the other's.
  /// Blocks: until its own tasks have ended.
  pool& operator=(pool&&) noexcept = default;
  ~pool() = default;

  /// As thread_pool or process_pool; `f` and what it is given must be transferable in any case. A task that runs in the
  /// caller and does not end by its deadline is asked to stop, and its future throws timed_out.
  /// Blocks: as the pool that it is; inline, until the task has ended. Errors: as the pool that it is.
  template <class F, class... A>
  requires(!std::same_as<std::decay_t<F>, task_options>) auto submit(F&& f, A&&... arguments) {
    return submit(task_options{}, std::forward<F>(f), std::forward<A>(arguments)...);
  }
  template <class F, class... A>
  auto submit(task_options options, F&& f, A&&... arguments) {
    using R = detail::task_result<F, A...>;
    detail::require_crossing<R, std::decay_t<F>, std::decay_t<A>...>();
    if (auto* const elsewhere = std::get_if<detail::process_engine>(&engine_)) {
      return detail::submit_call<R>(*elsewhere, std::move(options), std::forward<F>(f), std::forward<A>(arguments)...);
    }
    return submit_here(std::move(options), std::forward<F>(f), std::forward<A>(arguments)...);
  }
  /// The same, or nothing while max_pending tasks wait.
  /// Blocks: inline, until the task has ended. Errors: as submit().
  template <class F, class... A>
  requires(!std::same_as<std::decay_t<F>, task_options>) auto try_submit(F&& f, A&&... arguments) {
    return try_submit(task_options{}, std::forward<F>(f), std::forward<A>(arguments)...);
  }
  template <class F, class... A>
  auto try_submit(task_options options, F&& f, A&&... arguments) {
    using R = detail::task_result<F, A...>;
    detail::require_crossing<R, std::decay_t<F>, std::decay_t<A>...>();
    if (auto* const elsewhere = std::get_if<detail::process_engine>(&engine_)) {
      return detail::try_submit_call<R>(*elsewhere, std::move(options), std::forward<F>(f),
                                        std::forward<A>(arguments)...);
    }
    return detail::try_submit_task<R>(
        here(), detail::make_thread_task(std::forward<F>(f), std::forward<A>(arguments)...), plain(options));
  }

  /// No more tasks: submit() throws closed from now on. What was submitted is done.
  void close() noexcept {
    std::visit([](auto& engine) { engine.close(); }, engine_);
  }
  /// Waits until no task is left. The timed form: for no longer than that; true if none is left.
  /// Blocks: until then. Errors: std::system_error (resource_deadlock_would_occur) in a task of this pool of threads.
  void wait() {
    std::visit([](auto& engine) { engine.wait_until(clock::time_point::max()); }, engine_);
  }
  bool wait_for(nanoseconds timeout) {
    return std::visit([&](auto& engine) { return engine.wait_until(deadline_after(timeout)); }, engine_);
  }
  /// As thread_pool::shutdown() or process_pool::shutdown().
  /// Blocks: until its tasks have ended, or for `within`. Errors: as wait().
  shutdown_report shutdown(shutdown_options how = {}) {
    return std::visit([&](auto& engine) { return engine.shutdown(how); }, engine_);
  }
  /// What there is now, and how many tasks ended how so far.
  /// Errors: std::bad_alloc.
  pool_stats stats() const {
    return std::visit([](const auto& engine) { return engine.stats(); }, engine_);
  }
  /// How many workers it has; 1 if tasks run in the caller.
  unsigned workers() const noexcept {
    return std::visit([](const auto& engine) { return engine.workers(); }, engine_);
  }

 private:
  template <class, class, class, class, class>
  friend class detail::chunk_flights;
  friend class detail::pool_members<pool>;
  using in_threads = detail::thread_engine::start;
  static constexpr auto memory = detail::tasks_see::either;
  bool sees_memory() const noexcept { return std::holds_alternative<detail::thread_engine>(engine_); }

  const detail::thread_engine& here() const { return std::get<detail::thread_engine>(engine_); }
  static const task_options* plain(const task_options& o) noexcept {
    const bool asks =
        !o.name.empty() || o.deadline != nanoseconds::zero() || o.priority != 0 || o.key || o.retries != 0;
    return asks ? &o : nullptr;
  }
  // In a thread.
  template <class F, class... A>
  auto submit_here(task_options options, F&& f, A&&... arguments) {
    return detail::submit_task<detail::task_result<F, A...>>(
        here(), detail::make_thread_task(std::forward<F>(f), std::forward<A>(arguments)...), plain(options));
  }

  std::variant<detail::thread_engine, detail::process_engine> engine_;
};

}  // namespace tandem
