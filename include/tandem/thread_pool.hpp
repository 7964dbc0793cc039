#pragma once
// A few threads that run many tasks.
#include <tandem/detail/pool_members.hpp>
#include <tandem/detail/thread_task.hpp>

namespace tandem {

struct thread_pool_options {
  unsigned workers = 0;                    // 0: available_cpus()
  std::string name = {};                   // of the workers: name-1, name-2; empty: pool
  std::size_t max_pending = 0;             // tasks that wait; 0: 65 536
  std::function<void()> initializer = {};  // called first in each worker
};

/// Runs any callable in threads of its own, and nowhere else: those of one worker never run at once. Tasks may submit to
/// their own pool and wait for what they submitted: a worker that waits for a task that nobody has begun runs it. The
/// destructor closes, waits for all tasks and joins: a thread can only be asked, so that can take for ever.
/// A task begins after those that were submitted before it, unless a priority says otherwise; tasks of one key run in
/// order, one after the other. Workers that have nothing to do sleep.
/// A task that calls pthread_exit() ends the program, as one that calls exit().
/// Threads: members at once; destruction by one thread, and not by a worker. Fork: in a child made by fork() the threads
/// do not exist; its destructor there does nothing.
class thread_pool : public detail::pool_members<thread_pool> {
 public:
  /// One with so many threads, started at once; 0: as many as the CPUs that this program may use.
  /// Errors: resource_exhausted (no thread is left then); std::invalid_argument for a name that cannot be one.
  explicit thread_pool(unsigned workers = 0) : thread_pool(thread_pool_options{.workers = workers}) {}
  explicit thread_pool(thread_pool_options options)
      : engine_({options.workers, std::move(options.name), options.max_pending, std::move(options.initializer)}) {}
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;
  ~thread_pool() = default;

  /// The future of `f(arguments...)`, or of `f(stop_token, arguments...)` if it takes one; they are decayed and moved.
  /// `deadline` counts from the start of the task: then a stop is requested, and get() throws timed_out, though the thread
  /// goes on (stats().overdue). `retries` are for workers that die, which a thread does not alone: attempt() is always 1.
  /// Blocks: while max_pending tasks wait; not in a worker, which runs the task itself then. Stop: the token sees cancel()
  /// and the deadline. Errors: closed after close(); what the initializer threw; what copying throws; std::bad_alloc;
  /// resource_exhausted (with a deadline, the service thread). Cost: one allocation, mostly of memory used before; a
  /// system call if a worker has to be woken.
  template <class F, class... A>
  requires(!std::same_as<std::decay_t<F>, task_options>) auto submit(F&& f, A&&... arguments) {
    return detail::submit_task<detail::task_result<F, A...>>(
        engine_, detail::make_thread_task(std::forward<F>(f), std::forward<A>(arguments)...), nullptr);
  }
  template <class F, class... A>
  auto submit(task_options options, F&& f, A&&... arguments) {
    return detail::submit_task<detail::task_result<F, A...>>(
        engine_, detail::make_thread_task(std::forward<F>(f), std::forward<A>(arguments)...), &options);
  }
  /// The same, or nothing while max_pending tasks wait.
  /// Blocks: never. Errors: as submit().
  template <class F, class... A>
  requires(!std::same_as<std::decay_t<F>, task_options>) auto try_submit(F&& f, A&&... arguments) {
    return detail::try_submit_task<detail::task_result<F, A...>>(
        engine_, detail::make_thread_task(std::forward<F>(f), std::forward<A>(arguments)...), nullptr);
  }
  template <class F, class... A>
  auto try_submit(task_options options, F&& f, A&&... arguments) {
    return detail::try_submit_task<detail::task_result<F, A...>>(
        engine_, detail::make_thread_task(std::forward<F>(f), std::forward<A>(arguments)...), &options);
  }

  /// No more tasks: submit() throws closed from now on. What was submitted is done.
  void close() noexcept { engine_.close(); }
  /// Waits until no task is left. The timed form: for no longer than that; true if none is left.
  /// Blocks: until then. Errors: std::system_error (resource_deadlock_would_occur) in a task of this pool.
  void wait() { engine_.wait_until(clock::time_point::max()); }
  bool wait_for(nanoseconds timeout) { return engine_.wait_until(deadline_after(timeout)); }
  /// Closes, cancels what waits if asked to, and waits for the rest for as long as `how` says; then what waits is
  /// cancelled, and what runs is asked to stop, and left. How many tasks ended how meanwhile.
  /// Blocks: until then. Stop: requested of what runs, if it did not end in time. Errors: as wait().
  shutdown_report shutdown(shutdown_options how = {}) { return engine_.shutdown(how); }
  /// What there is now, and how many tasks ended how so far. `task` of a worker is the name that was given to its task.
  /// Errors: std::bad_alloc.
  pool_stats stats() const { return engine_.stats(); }
  /// How many threads it has.
  unsigned workers() const noexcept { return engine_.workers(); }

 private:
  template <class, class, class, class, class>
  friend class detail::chunk_flights;
  friend class detail::pool_members<thread_pool>;
  static constexpr auto memory = detail::tasks_see::this_memory;
  template <class F, class... A>
  auto submit_here(task_options options, F&& f, A&&... arguments) {
    return submit(std::move(options), std::forward<F>(f), std::forward<A>(arguments)...);
  }

  detail::thread_engine engine_;
};

}  // namespace tandem
