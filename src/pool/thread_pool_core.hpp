#pragma once
// A pool of threads.
//
// A task lies in the ring that all share, or in the ring of one worker, from which the others steal when they have
// nothing else: there a worker puts what it submits itself, and what it took from the shared ring at once, so that the
// shared lock is taken once for many tasks. Who begins a task says so in its word: what was cancelled, or begun by
// somebody who waits for it, is skipped when it comes out of a ring.
#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <tandem/detail/thread_core.hpp>
#include <tandem/detail/thread_task.hpp>

#include "pool/ready_tasks.hpp"
#include "worker/service.hpp"
#include "worker/task_context.hpp"

namespace tandem::pools {

/// What a task has whose submitter asked for something.
struct task_extra final : worker::alarm {
  task_extra(detail::thread_task& t, const task_options& o) : task(&t), options(o) {}
  /// Its deadline has passed. The runner takes the alarm back before it lets go of the task.
  void ring() noexcept override;

  detail::thread_task* task;
  task_options options;
};

using detail::thread_task;

/// Counts that one thread writes and others read.
struct task_counts {
  std::atomic<std::size_t> submitted{0}, begun{0}, ended{0}, done{0}, failed{0};
  static void add(std::atomic<std::size_t>& count, std::size_t n = 1) noexcept {
    count.store(count.load(std::memory_order_relaxed) + n, std::memory_order_release);
  }
  static void take(std::atomic<std::size_t>& count) noexcept { add(count, static_cast<std::size_t>(-1)); }
};

class thread_pool_core;

class alignas(64) pool_worker final : public detail::thread_core {
 public:
  pool_worker(thread_pool_core& pool, std::string name, std::size_t index);

  worker_info describe() const override;
  /// Tasks whose submitter gave them a name or more, or that have a token: the innermost one last.
  void begin_known(thread_task&);
  void end_known(thread_task&) noexcept;
  void stop_known() noexcept;

  thread_pool_core& pool;
  std::size_t index;
  short_lock ring_lock;
  task_ring ring{256};
  task_counts counts;

 private:
  void run() override;
  void release() override {}

  mutable std::mutex knowing_;
  std::vector<std::pair<thread_task*, clock::time_point>> known_;
};

class thread_pool_core {
 public:
  explicit thread_pool_core(detail::thread_engine::start);
  ~thread_pool_core();

  bool submit(thread_task&, const task_options*, bool wait);
  void close() noexcept;
  bool wait_until(clock::time_point deadline);
  /// Errors: tandem::error in a child made by fork().
  void require_own() const;
  /// What runs is to stop.
  bool is_shut_down() const noexcept { return is_shut_down_.load(std::memory_order_seq_cst); }
  shutdown_report shutdown(shutdown_options);
  pool_stats stats() const;
  unsigned workers() const noexcept { return in_caller_ ? 1 : static_cast<unsigned>(workers_.size()); }

  // ---- of its workers -----------------------------------------------------------------------------------------------
  void serve(pool_worker&);

  // ---- of its tasks -------------------------------------------------------------------------------------------------
  bool help(thread_task&);
  void was_cancelled() noexcept;
  void became_overdue() noexcept {
    timed_out_.fetch_add(1, std::memory_order_relaxed);
    overdue_.fetch_add(1, std::memory_order_relaxed);
  }
  void was_in_time() noexcept {
    timed_out_.fetch_sub(1, std::memory_order_relaxed);
    overdue_.fetch_sub(1, std::memory_order_relaxed);
  }
  /// The caller runs it, and it may be asked to stop: shutdown() has to know it.
  static void know(thread_task&);
  static void ask_stop(thread_task& task) { task.ask_stop(); }
  static const std::string* name_of(const thread_task& task) noexcept;
  static void destroy_extra(thread_task& task) noexcept { delete task.extra_; }

 private:
  void end_workers(std::size_t started) noexcept;
  void add_extra(thread_task&, const task_options*);
  bool put(thread_task&, bool wait);
  bool put_from_worker(thread_task&, pool_worker&, bool wait);
  void run_in_caller(thread_task&);
  void refuse_if_ended() const;  // under the lock
  void enqueue(thread_task&);    // under the lock
  void wait_for_room(std::unique_lock<short_lock>&, unsigned looks);
  void purge() noexcept;  // under the lock
  bool run_next(pool_worker&);
  thread_task* next(pool_worker&);
  thread_task* take_shared(pool_worker&);
  thread_task* take_urgent();
  thread_task* steal(pool_worker&);
  void run(thread_task&, pool_worker*, task_counts&);
  void execute(thread_task&, pool_worker*, task_counts&);
  void call(thread_task&, task_counts&) noexcept;
  void leave_key(thread_task&);
  void discard(thread_task*) noexcept;
  void sleep(pool_worker&);
  bool has_work() const noexcept;
  void wake_one() noexcept;
  void made_room() noexcept;
  void tell_if_idle() noexcept;
  void wake_if_ended() noexcept;  // under ending_
  bool all_ended() const noexcept;
  std::size_t total(std::atomic<std::size_t> task_counts::*) const noexcept;
  void fail(std::exception_ptr) noexcept;
  void cancel_pending() noexcept;

  std::function<void()> initializer_;
  std::size_t max_pending_;
  bool in_caller_;
  unsigned epoch_;
  std::vector<std::unique_ptr<pool_worker>> workers_;

  alignas(64) short_lock lock_;  // of what follows
  task_ring ring_{1024};
  special_tasks special_;
  std::size_t pending_ = 0;  // in the ring, and special
  std::exception_ptr failure_;
  task_counts counts_;
  std::atomic<std::size_t> special_ready_{0};  // with a priority
  std::atomic<bool> closed_{false};

  alignas(64) std::atomic<std::uint32_t> flag_{0};  // idle workers sleep on it
  std::atomic<std::uint32_t> sleepers_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> failed_{false};
  alignas(64) std::atomic<std::uint32_t> room_{0};  // submitters sleep on it
  std::atomic<std::uint32_t> blocked_{0};
  std::atomic<std::size_t> purgeable_{0};  // cancelled and still in a queue, perhaps
  std::atomic<std::size_t> cancelled_{0};
  std::atomic<std::size_t> timed_out_{0};
  std::atomic<std::size_t> overdue_{0};
  std::atomic<std::uint32_t> idle_{0};  // who waits for the end of all tasks sleeps on it
  std::atomic<std::uint32_t> idle_waiters_{0};
  std::atomic<bool> drops_rest_{false};
  std::atomic<bool> is_shut_down_{false};
  std::optional<worker::service_hold> service_;  // from the first deadline on; under ending_
  std::mutex ending_;                            // held by who tells them, so that the pool is not gone meanwhile
};

}  // namespace tandem::pools
