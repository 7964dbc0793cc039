#pragma once
// A few worker processes that run many tasks: as quick as threads, and the death of one costs at most the task that it ran.
#include <optional>
#include <string>
#include <utility>

#include <tandem/detail/pool_engine.hpp>
#include <tandem/detail/pool_members.hpp>
#include <tandem/detail/pool_options.hpp>
#include <tandem/detail/process_handle.hpp>
#include <tandem/future.hpp>
#include <tandem/process.hpp>

namespace tandem {

struct process_pool_options {
  unsigned workers = 0;                  // 0: available_cpus(); in a worker of a pool its share of them
  std::string name = {};                 // of the workers: name-1, name-2; empty: pool
  std::size_t max_pending = 0;           // tasks that wait; 0: 65 536
  std::size_t max_tasks_per_worker = 0;  // then another takes its place, up to a tenth earlier; 0: no bound
  nanoseconds max_worker_age{};          // the same
  std::size_t max_worker_memory = 0;     // resident bytes, looked at after each task; 0: no bound
  unsigned min_workers = 0;              // so many stay
  nanoseconds idle_timeout{};            // after so long without a task a worker ends until it is needed; 0: never
  unsigned spares = 1;                   // started ahead, so that nobody waits for a replacement
  void (*initializer)() = nullptr;       // called first in each worker
  start_method start = start_method::fork_server;
  nanoseconds stop_grace = std::chrono::seconds(5);  // from the request to stop until SIGTERM
  nanoseconds kill_grace = std::chrono::seconds(1);  // from SIGTERM until SIGKILL
};

/// Runs functions in worker processes. A worker that dies costs the one task that it ran, which fails with
/// worker_crashed or worker_exited, or runs again; another worker takes its place. The destructor closes, waits for all
/// tasks, and ends the workers as process's destructor does.
/// Threads: members at once; destruction by one thread, not by the service thread (a callback of a future). Fork: in a
/// child made by fork() the pool does not exist, and its destructor does nothing.
class process_pool : public detail::pool_members<process_pool> {
 public:
  /// One with so many workers, started at once; 0: as many as the CPUs that this program may use.
  /// Blocks: until they exist. Fork: by the fork server; see init(). Errors: as process: nothing is left then.
  explicit process_pool(unsigned workers = 0) : process_pool(process_pool_options{.workers = workers}) {}
  explicit process_pool(process_pool_options options) : engine_(std::move(options)) {}
  process_pool(const process_pool&) = delete;
  process_pool& operator=(const process_pool&) = delete;
  ~process_pool() = default;

  /// The future of `f(arguments...)`, run in one of the workers; or of `f(stop_token, arguments...)` if it takes one.
  /// Function and arguments are what process takes, and are encoded here.
  /// Blocks: while max_pending tasks wait. Stop: the token sees cancel() and the deadline. Errors: closed after close();
  /// what the initializer threw; as process for what cannot be encoded. Cost: no system call while a worker is awake and
  /// the arguments fit into some hundred bytes.
  template <class F, class... A>
  requires(!std::same_as<std::decay_t<F>, task_options>) auto submit(F&& f, A&&... arguments) {
    return submit(task_options{}, std::forward<F>(f), std::forward<A>(arguments)...);
  }
  template <class F, class... A>
  auto submit(task_options options, F&& f, A&&... arguments) {
    using R = detail::task_result<F, A...>;
    return detail::submit_call<R>(engine_, std::move(options), std::forward<F>(f), std::forward<A>(arguments)...);
  }
  /// The same, or nothing while max_pending tasks wait.
  /// Errors: as submit().
  template <class F, class... A>
  requires(!std::same_as<std::decay_t<F>, task_options>) auto try_submit(F&& f, A&&... arguments) {
    return try_submit(task_options{}, std::forward<F>(f), std::forward<A>(arguments)...);
  }
  template <class F, class... A>
  auto try_submit(task_options options, F&& f, A&&... arguments) {
    using R = detail::task_result<F, A...>;
    return detail::try_submit_call<R>(engine_, std::move(options), std::forward<F>(f), std::forward<A>(arguments)...);
  }

  /// No more tasks: submit() throws closed from now on. What was submitted is done.
  void close() noexcept { engine_.close(); }
  /// Waits until no task is left. The timed form: for no longer than that; true if none is left.
  /// Blocks: until then. Errors: none.
  void wait() { engine_.wait_until(clock::time_point::max()); }
  bool wait_for(nanoseconds timeout) { return engine_.wait_until(deadline_after(timeout)); }
  /// Closes, cancels what waits if asked to, and waits for the rest for as long as `how` says; then it is cancelled, and the
  /// workers that run it are killed. How many tasks ended how meanwhile.
  /// Blocks: until then. Errors: std::bad_alloc.
  shutdown_report shutdown(shutdown_options how = {}) { return engine_.shutdown(how); }
  /// What there is now, and how many tasks ended how so far.
  /// Errors: std::bad_alloc. Cost: a read of /proc for each worker.
  pool_stats stats() const { return engine_.stats(); }
  /// How many it has when all are needed.
  unsigned workers() const noexcept { return engine_.workers(); }

 private:
  template <class, class, class, class, class>
  friend class detail::chunk_flights;
  friend class detail::pool_members<process_pool>;
  static constexpr auto memory = detail::tasks_see::copies;

  detail::process_engine engine_;
};

}  // namespace tandem
