#pragma once
// A pool of processes. submit() writes a task into the memory of a worker; whoever waits for it sleeps there; no thread
// stands between. The service thread sees to what nobody waits for: deaths, deadlines, workers that run dry while tasks
// wait.
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <vector>

#include <tandem/detail/pool_task.hpp>
#include <tandem/process_pool.hpp>

#include "pool/host_worker.hpp"
#include "pool/waiting.hpp"
#include "worker/service.hpp"

namespace tandem::pools {

using worker_pointer = std::shared_ptr<host_worker>;
using fate = process_task::fate;
constexpr int sigterm = 15;
constexpr int sigkill = 9;

class process_pool_core final : public std::enable_shared_from_this<process_pool_core> {
 public:
  explicit process_pool_core(process_pool_options options);
  ~process_pool_core();
  process_pool_core(const process_pool_core&) = delete;
  process_pool_core& operator=(const process_pool_core&) = delete;

  /// Starts the workers. Errors: as process's constructor; then nothing is left.
  void start();
  /// No more tasks; waits for all; ends the workers.
  void end() noexcept;
  bool of_this_process() const noexcept;

  /// False if there is no room and it must not wait. Errors: closed; why the pool has failed.
  bool submit(const task_pointer& task, bool waits);
  void close() noexcept;
  bool wait_until(clock::time_point deadline);
  shutdown_report shutdown(const shutdown_options& how);
  pool_stats stats();
  unsigned workers() const noexcept { return static_cast<unsigned>(seats_.size()); }

  // ---- of a task --------------------------------------------------------------------------------------------------
  /// It seems to have ended: makes it so.
  void collect(process_task& task);
  template <class Ready>
  bool look_for(Ready ready) const {
    return pools::look_for(shape_.spin_ns, shape_.yields != 0, ready);
  }
  void sleep(process_task& task, clock::time_point deadline);
  void watch(process_task& task);
  bool cancel(process_task& task, detail::how h);

  worker_info describe(const host_worker& worker);

 private:
  /// The lock, and what is to be done once it is free again: those that wait are woken, tasks are ended, workers go.
  class section {
   public:
    explicit section(process_pool_core& core) : core_(core), lock_(core.mutex_) {}
    ~section() { leave(); }
    section(const section&) = delete;
    section& operator=(const section&) = delete;
    void finish(task_pointer task, fate how) noexcept;
    void finish(task_pointer task, std::exception_ptr error) noexcept;
    void wake(host_worker& worker);
    void leave() noexcept;
    void enter() { lock_.lock(); }
    std::vector<worker_pointer> gone;

   private:
    process_pool_core& core_;
    std::unique_lock<std::mutex> lock_;
    task_pointer first_;
    process_task* last_ = nullptr;
    std::shared_ptr<region_map> to_wake_;
  };
  struct seat {
    worker_pointer worker;
    std::deque<task_pointer> keyed;  // of the keys that belong to this seat, those that wait
  };
  struct process_end {
    std::optional<crash_report> report;
    std::exception_ptr thrown;
    bool lost = false;  // with the fork server
  };
  class ear;
  struct maintenance;

  // process_pool_core.cpp: tasks
  void complete(section& s, host_worker& w, std::uint32_t index);
  void sweep(section& s);
  enum class placing { done, no_room, failed };
  placing place(section& s, host_worker& w, const task_pointer& task);
  host_worker* choose(section& s, const process_task& task);
  bool takes_keyed(const seat& one) const;
  void add_pending(const task_pointer& task, bool first) noexcept;
  void refill(section& s);
  bool refill_keyed(section& s);
  void pull_back_below(int priority);
  void share_out(section& s);
  bool update_rings() noexcept;
  std::size_t waiting_now() const noexcept;
  void tell_space() noexcept;
  void cancel_waiting(section& s);
  void forget_ended(const process_task& task);
  void fail_waiting(section& s, const std::exception_ptr& error);
  task_pointer any_open() const;
  void require_open() const;
  void see_to_deadline(const process_task& task);

  // process_pool_deaths.cpp: ends of workers; in the service thread, under service_mutex_
  void hear_end(const worker_pointer& w);
  process_end look_at_end(host_worker& w);
  void remove(const host_worker& w, section& s);
  void settle(section& s, host_worker& w, const process_end& end);
  bool settle_claimed(section& s, host_worker& w, const task_pointer& task, const process_end& end);
  void note_end(section& s, host_worker& w, const process_end& end, bool was_busy);
  void fail_pool(section& s, const std::exception_ptr& error);

  // process_pool_life.cpp: the same
  void hear_ring(const worker_pointer& w);
  void maintain();
  void post_maintenance() noexcept;
  void set_alarm_at(clock::time_point due) noexcept;
  worker_pointer start_worker();
  std::shared_ptr<region_map> take_region();
  clock::time_point step_workers(section& s, std::vector<std::pair<worker_pointer, int>>& to_signal);
  clock::time_point look_at_task(section& s, host_worker& w);
  clock::time_point step_ladder(section& s, const worker_pointer& w,
                                std::vector<std::pair<worker_pointer, int>>& to_signal);
  void begin_ladder(host_worker& w, std::uint32_t index, ladder::reason why);
  void retire_old(section& s, const worker_pointer& w);
  bool put_back(host_worker& w);
  bool wants_worker(const seat& s) const;
  unsigned living_seats() const noexcept;
  void fill_seats();
  nanoseconds back_off(unsigned times);
  /// How many ends in a row say that the next worker had better wait.
  unsigned discouraging_ends() const noexcept;
  void drop_listeners(host_worker& w) noexcept;
  template <class Each>
  void each_worker(Each each) {
    for (seat& s : seats_) {
      if (s.worker) each(s.worker);
    }
    for (const worker_pointer& w : retiring_) each(w);
  }

  process_pool_options options_;
  worker_shape shape_;
  unsigned epoch_;
  std::uint32_t spin_ns_;

  std::mutex mutex_;  // of what follows
  std::vector<seat> seats_;
  std::vector<worker_pointer> spares_;
  std::vector<worker_pointer> retiring_;  // get no more tasks
  std::vector<std::shared_ptr<region_map>> regions_;
  std::map<int, std::deque<task_pointer>, std::greater<>> pending_;
  std::size_t pending_count_ = 0;  // without those of seats
  std::size_t keyed_count_ = 0;    // in the seats
  std::size_t placed_count_ = 0;
  std::size_t next_seat_ = 0;
  bool closed_ = false;
  bool stopping_ = false;
  bool started_ = false;
  bool rings_dry_ = false;
  bool rings_each_ = false;
  bool has_priorities_ = false;
  unsigned blocked_ = 0;  // submitters
  std::exception_ptr failure_;
  pool_stats counts_;
  unsigned early_ends_ = 0;   // workers in a row that ended without a task
  unsigned early_kills_ = 0;  // those that a stranger has killed so
  clock::time_point not_before_{};
  unsigned start_failures_ = 0;  // in a row
  unsigned wanted_ = 0;          // seats that have a worker
  clock::time_point alarm_due_ = clock::time_point::max();
  std::size_t killed_ = 0;
  std::minstd_rand random_;

  std::atomic<std::uint32_t> open_{0};   // twice the tasks that have not ended; odd: somebody waits for their end
  std::atomic<std::uint32_t> space_{0};  // moves when there may be room; a futex
  std::recursive_mutex service_mutex_;
  std::optional<worker::service_hold> hold_;
  std::unique_ptr<maintenance> maintenance_;
  std::atomic<unsigned> names_{0};
};

}  // namespace tandem::pools
