#include "pool/thread_pool_core.hpp"

#include <algorithm>
#include <array>
#include <system_error>

#include <tandem/error.hpp>
#include <tandem/init.hpp>

#include "sync/session.hpp"
#include "worker/fork_watch.hpp"

namespace tandem::pools {

namespace {

constinit thread_local pool_worker* current_worker = nullptr;

constexpr std::size_t usual_pending = 65'536;
constexpr std::size_t local_from = 4096;  // under so few pending tasks, all of them are in the shared ring, and counted
constexpr std::size_t most_at_once = 32;

std::stop_token token_of(void* task) { return static_cast<thread_task*>(task)->token(); }

}  // namespace

// ---- life -----------------------------------------------------------------------------------------------------------

thread_pool_core::thread_pool_core(detail::thread_engine::start start)
    : initializer_(std::move(start.initializer)),
      max_pending_(start.max_pending != 0 ? start.max_pending : usual_pending),
      in_caller_(start.in_caller),
      epoch_(worker::fork_epoch()) {
  if (in_caller_) return;
  const unsigned count = start.workers != 0 ? start.workers : available_cpus();
  const std::string name = start.name.empty() ? "pool" : start.name;
  for (unsigned i = 0; i < count; ++i)
    workers_.push_back(std::make_unique<pool_worker>(*this, name + "-" + std::to_string(i + 1), i));
  std::size_t started = 0;
  try {
    for (; started < workers_.size(); ++started) workers_[started]->start();
  } catch (...) {
    end_workers(started);
    throw;
  }
}

thread_pool_core::~thread_pool_core() {
  if (epoch_ != worker::fork_epoch()) {
    for (auto& each : workers_) static_cast<void>(each.release());  // a copy made by fork(): nobody is there to join
    return;
  }
  close();
  wait_until(os::never);
  end_workers(workers_.size());
  while (has_work()) cancel_pending();  // what was cancelled where it waited is still there
}

void thread_pool_core::end_workers(std::size_t started) noexcept {
  stopping_.store(true);
  flag_.fetch_add(1);
  os::futex_wake_all(flag_);
  for (std::size_t i = 0; i < started; ++i) workers_[i]->join();
}

void thread_pool_core::close() noexcept {
  {
    const std::lock_guard lock(lock_);
    closed_.store(true);
  }
  made_room();  // who waits for room is told
}

void thread_pool_core::fail(std::exception_ptr failure) noexcept {
  {
    const std::lock_guard lock(lock_);
    if (!failure_) failure_ = std::move(failure);
    failed_.store(true);
  }
  made_room();
}

// ---- submitting -----------------------------------------------------------------------------------------------------

bool thread_pool_core::submit(thread_task& task, const task_options* options, bool wait) {
  struct both_holds {
    thread_task* task;
    ~both_holds() {
      if (task == nullptr) return;
      task->release();
      task->release();
    }
  } unless_taken{&task};
  require_own();
  task.core_ = this;
  add_extra(task, options);
  if (in_caller_) {
    run_in_caller(task);
  } else if (pool_worker* const self = current_worker; self != nullptr && &self->pool == this) {
    if (!put_from_worker(task, *self, wait)) return false;
  } else if (!put(task, wait)) {
    return false;
  }
  unless_taken.task = nullptr;
  return true;
}

void thread_pool_core::add_extra(thread_task& task, const task_options* options) {
  if (options == nullptr) return;
  task.extra_ = new task_extra(task, *options);
  if (options->deadline <= nanoseconds::zero()) return;
  const std::lock_guard lock(ending_);
  if (!service_) service_.emplace();
}

void thread_pool_core::refuse_if_ended() const {
  if (failure_) std::rethrow_exception(failure_);
  if (closed_.load(std::memory_order_relaxed)) throw closed("tandem: the pool was closed: it takes no more tasks");
}

bool thread_pool_core::put(thread_task& task, bool wait) {
  {
    std::unique_lock lock(lock_);
    refuse_if_ended();
    if (pending_ >= max_pending_ && purgeable_.load(std::memory_order_relaxed) != 0) purge();
    for (unsigned looks = 0; pending_ >= max_pending_; ++looks) {
      if (!wait) return false;
      wait_for_room(lock, looks);
      refuse_if_ended();
    }
    enqueue(task);
    task_counts::add(counts_.submitted);
  }
  wake_one();
  return true;
}

// A worker never waits for room, which it would make itself.
bool thread_pool_core::put_from_worker(thread_task& task, pool_worker& self, bool wait) {
  if (task.extra_ == nullptr && max_pending_ >= local_from) {
    if (closed_.load(std::memory_order_acquire) || failed_.load(std::memory_order_acquire)) {
      const std::lock_guard lock(lock_);
      refuse_if_ended();
    }
    std::unique_lock lock(self.ring_lock);
    if (self.ring.has_room()) {
      self.ring.push(&task);
      task_counts::add(self.counts.submitted);
      lock.unlock();
      wake_one();
      return true;
    }
  }
  {
    std::unique_lock lock(lock_);
    refuse_if_ended();
    if (pending_ >= max_pending_ && purgeable_.load(std::memory_order_relaxed) != 0) purge();
    const bool in_order = task.extra_ != nullptr && task.extra_->options.key.has_value();
    if (pending_ < max_pending_ || (wait && in_order)) {
      enqueue(task);
      task_counts::add(counts_.submitted);
      lock.unlock();
      wake_one();
      return true;
    }
  }
  if (!wait) return false;
  task_counts::add(self.counts.submitted);
  run(task, &self, self.counts);
  return true;
}

void thread_pool_core::enqueue(thread_task& task) {
  const task_options* const options = task.extra_ != nullptr ? &task.extra_->options : nullptr;
  if (options != nullptr && options->key && !special_.enter(&task, *options->key)) {
    // It waits for another one of its key.
  } else if (options != nullptr && options->priority != 0) {
    special_.push(&task, options->priority);
    special_ready_.fetch_add(1, std::memory_order_relaxed);
  } else {
    ring_.push(&task);
  }
  ++pending_;
}

void thread_pool_core::wait_for_room(std::unique_lock<short_lock>& lock, unsigned looks) {
  blocked_.fetch_add(1, std::memory_order_relaxed);
  const std::uint32_t seen = room_.load(std::memory_order_relaxed);  // moved only after the lock was held
  lock.unlock();
  for (unsigned turns = looks == 0 ? sync::spin_turns() : 0; turns > 0; --turns) {
    if (room_.load(std::memory_order_relaxed) != seen) break;
    pause();
  }
  // It is told once there is room for many; where the workers wait for what it has to submit, that may be never. It looks
  // less and less often.
  const std::chrono::milliseconds at_most(1U << std::min(looks, 6U));
  os::futex_wait(room_, seen, clock::now() + at_most);
  lock.lock();
  blocked_.fetch_sub(1, std::memory_order_relaxed);
  if (purgeable_.load(std::memory_order_relaxed) != 0) purge();
}

void thread_pool_core::made_room() noexcept {
  {
    // Who is about to wait for room holds it until it has looked.
    const std::lock_guard lock(lock_);
    if (blocked_.load(std::memory_order_relaxed) == 0) return;
    room_.fetch_add(1, std::memory_order_relaxed);
  }
  os::futex_wake_all(room_);
}

void thread_pool_core::purge() noexcept {
  purgeable_.store(0, std::memory_order_relaxed);
  const auto drops = [this](thread_task* task) {
    const bool is_over = task->has_started() || task->done();
    const bool in_order = task->extra_ != nullptr && task->extra_->options.key.has_value();
    if (!is_over || in_order) return false;
    --pending_;
    task->release();
    return true;
  };
  for (std::size_t left = ring_.size(); left > 0; --left) {
    thread_task* const task = ring_.pop();
    if (!drops(task)) ring_.push(task);  // where there was one before
  }
  special_ready_.fetch_sub(special_.remove_if(drops), std::memory_order_relaxed);
  pending_ -= special_.drop_waiting_if([](thread_task* task) {
    if (!task->done()) return false;
    task->release();
    return true;
  });
}

void thread_pool_core::run_in_caller(thread_task& task) {
  {
    const std::lock_guard lock(lock_);
    refuse_if_ended();
    task_counts::add(counts_.submitted);
  }
  task_counts own;
  run(task, nullptr, own);
  const std::lock_guard ending(ending_);
  {
    const std::lock_guard lock(lock_);
    task_counts::add(counts_.begun, own.begun);
    task_counts::add(counts_.done, own.done);
    task_counts::add(counts_.failed, own.failed);
    task_counts::add(counts_.ended, own.ended);
  }
  wake_if_ended();
}

// ---- running --------------------------------------------------------------------------------------------------------

void thread_pool_core::serve(pool_worker& self) {
  current_worker = &self;
  if (initializer_) {
    try {
      initializer_();
    } catch (...) {
      fail(std::current_exception());
    }
  }
  while (!stopping_.load(std::memory_order_acquire)) {
    if (run_next(self)) continue;
    tell_if_idle();
    sleep(self);
  }
}

bool thread_pool_core::run_next(pool_worker& self) {
  thread_task* const task = next(self);
  if (task == nullptr) return false;
  run(*task, &self, self.counts);
  return true;
}

thread_task* thread_pool_core::next(pool_worker& self) {
  if (special_ready_.load(std::memory_order_relaxed) != 0) {
    if (thread_task* const task = take_urgent()) return task;
  }
  if (self.ring.size() != 0) {
    const std::lock_guard lock(self.ring_lock);
    if (thread_task* const task = self.ring.pop()) return task;
  }
  if (thread_task* const task = take_shared(self)) return task;
  return steal(self);
}

thread_task* thread_pool_core::take_urgent() {
  const std::lock_guard lock(lock_);
  thread_task* const task = special_.pop(true);
  if (task == nullptr) return nullptr;
  special_ready_.fetch_sub(1, std::memory_order_relaxed);
  --pending_;
  if (blocked_.load(std::memory_order_relaxed) != 0) {
    room_.fetch_add(1, std::memory_order_relaxed);
    os::futex_wake_all(room_);
  }
  return task;
}

// The first one, and more of them into the worker's own ring: the lock is taken once for several.
thread_task* thread_pool_core::take_shared(pool_worker& self) {
  if (ring_.size() == 0 && special_ready_.load(std::memory_order_relaxed) == 0) return nullptr;
  std::array<thread_task*, most_at_once> taken;
  std::size_t count = 0;
  bool room = false;
  {
    const std::lock_guard lock(lock_);
    const std::size_t share = (ring_.size() + 2 * workers_.size() - 1) / (2 * workers_.size());
    for (const std::size_t most = std::min(share, most_at_once); count < most; ++count) taken[count] = ring_.pop();
    if (count == 0) {
      if ((taken[0] = special_.pop(false)) == nullptr) return nullptr;
      special_ready_.fetch_sub(1, std::memory_order_relaxed);
      count = 1;
    }
    pending_ -= count;
    room = blocked_.load(std::memory_order_relaxed) != 0 && pending_ <= max_pending_ - max_pending_ / 4;
    if (room) room_.fetch_add(1, std::memory_order_relaxed);
  }
  if (room) os::futex_wake_all(room_);
  for (std::size_t i = 1; i < count; ++i) os::want_to_write(taken[i]);
  if (count > 1) {
    {
      const std::lock_guard lock(self.ring_lock);
      for (std::size_t i = 1; i < count; ++i) self.ring.push(taken[i]);
    }
    wake_one();  // who looked in between saw them nowhere
  }
  return taken[0];
}

thread_task* thread_pool_core::steal(pool_worker& self) {
  for (std::size_t k = 1; k < workers_.size(); ++k) {
    pool_worker& other = *workers_[(self.index + k) % workers_.size()];
    if (other.ring.size() == 0) continue;
    const std::lock_guard lock(other.ring_lock);
    if (thread_task* const task = other.ring.pop()) return task;
  }
  return nullptr;
}

// Takes over the pool's hold.
void thread_pool_core::run(thread_task& task, pool_worker* self, task_counts& counts) {
  if (drops_rest_.load(std::memory_order_relaxed)) return discard(&task);
  if (task.try_start()) execute(task, self, counts);
  leave_key(task);
  task.release();
}

void thread_pool_core::execute(thread_task& task, pool_worker* self, task_counts& counts) {
  task_counts::add(counts.begun);
  worker::task_context context{1, std::nullopt, &token_of, &task};
  task_extra* const extra = task.extra_;
  if (extra != nullptr) {
    if (self != nullptr) self->begin_known(task);
    if (extra->options.deadline > nanoseconds::zero()) {
      context.deadline = deadline_after(extra->options.deadline);
      worker::set_alarm(*extra, *context.deadline);
    }
  }
  const worker::task_context* const outer = std::exchange(worker::thread_task, &context);
  call(task, counts);
  worker::thread_task = outer;
  if (context.deadline) worker::take_back(*extra);
  if (self != nullptr && (extra != nullptr || (task.word() & thread_task::has_token) != 0)) self->end_known(task);
  task_counts::add(counts.ended);
}

// It is counted before it is seen to have ended: who has its result finds it in the counts.
void thread_pool_core::call(thread_task& task, task_counts& counts) noexcept {
  std::exception_ptr failure;
  if (failed_.load(std::memory_order_acquire)) {
    const std::lock_guard lock(lock_);
    failure = failure_;
  }
  if (failure) {
    task.drop();
  } else {
    failure = task.execute();
  }
  std::atomic<std::size_t>& count = failure ? counts.failed : counts.done;
  task_counts::add(count);
  if (failure ? task.end_with_error(std::move(failure)) : task.end_with_value()) return;
  task_counts::take(count);  // its deadline had passed
  overdue_.fetch_sub(1, std::memory_order_relaxed);
}

void thread_pool_core::leave_key(thread_task& task) {
  if (task.extra_ == nullptr || !task.extra_->options.key) return;
  {
    const std::lock_guard lock(lock_);
    thread_task* const next = special_.leave(*task.extra_->options.key);
    if (next == nullptr) return;
    if (const int priority = next->extra_->options.priority; priority != 0) {
      special_.push(next, priority);
      special_ready_.fetch_add(1, std::memory_order_relaxed);
    } else {
      ring_.push(next);
    }
  }
  wake_one();
}

bool thread_pool_core::help(thread_task& task) {
  pool_worker* const self = current_worker;
  if (self == nullptr || &self->pool != this) return false;
  if (task.extra_ != nullptr && task.extra_->options.key) return false;  // others of its key come first
  if (!task.try_start()) return false;
  self->ring_lock.lock();
  const bool was_last = self->ring.pop_last(&task);
  self->ring_lock.unlock();
  execute(task, self, self->counts);
  if (was_last) task.release();
  return true;
}

void thread_pool_core::know(thread_task& task) {
  if (current_worker != nullptr && &current_worker->pool == task.core_ && worker::thread_task != nullptr &&
      worker::thread_task->task == &task)
    current_worker->begin_known(task);
}

const std::string* thread_pool_core::name_of(const thread_task& task) noexcept {
  return task.extra_ != nullptr ? &task.extra_->options.name : nullptr;
}

// ---- sleeping -------------------------------------------------------------------------------------------------------

bool thread_pool_core::has_work() const noexcept {
  // seq_cst: after a registration as a sleeper, it sees what was pushed by who did not see the registration.
  constexpr auto order = std::memory_order_seq_cst;
  if (ring_.size(order) != 0 || special_ready_.load(order) != 0) return true;
  return std::any_of(workers_.begin(), workers_.end(), [](const auto& each) { return each->ring.size(order) != 0; });
}

void thread_pool_core::sleep(pool_worker&) {
  for (unsigned turns = sync::spin_turns(); turns > 0; --turns) {
    if (has_work() || stopping_.load(std::memory_order_relaxed)) return;
    pause();
  }
  // The epoch first: a wake between registering and sleeping changes it. seq_cst pairs with the unlock before wake_one().
  const std::uint32_t epoch = flag_.load(std::memory_order_seq_cst);
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  if (!has_work() && !stopping_.load(std::memory_order_seq_cst)) {
    os::futex_wait(flag_, epoch);
    return;
  }
  std::uint32_t seen = sleepers_.load(std::memory_order_relaxed);
  while (seen != 0 && !sleepers_.compare_exchange_weak(seen, seen - 1, std::memory_order_relaxed)) {
  }
}

// The waker takes the sleeper's registration, so that each is woken once.
void thread_pool_core::wake_one() noexcept {
  std::uint32_t seen = sleepers_.load(std::memory_order_seq_cst);
  while (seen != 0) {
    if (!sleepers_.compare_exchange_weak(seen, seen - 1, std::memory_order_seq_cst)) continue;
    flag_.fetch_add(1, std::memory_order_seq_cst);
    os::futex_wake(flag_, 1);
    return;
  }
}

// ---- ending ---------------------------------------------------------------------------------------------------------

void thread_pool_core::was_cancelled() noexcept {
  purgeable_.fetch_add(1, std::memory_order_relaxed);
  made_room();
  const std::lock_guard lock(ending_);  // who waits for the end sees it, and lets the pool live until this is done
  cancelled_.fetch_add(1, std::memory_order_seq_cst);
  wake_if_ended();
}

std::size_t thread_pool_core::total(std::atomic<std::size_t> task_counts::*count) const noexcept {
  std::size_t sum = (counts_.*count).load(std::memory_order_acquire);
  for (const auto& each : workers_) sum += (each->counts.*count).load(std::memory_order_acquire);
  return sum;
}

// What has ended is read first: if that is as much as was ever submitted, nothing was left at that moment.
bool thread_pool_core::all_ended() const noexcept {
  const std::size_t over = total(&task_counts::ended) + cancelled_.load(std::memory_order_seq_cst);
  return over == total(&task_counts::submitted);
}

// Reads by adding nothing: who registers later sees all that was done before this.
void thread_pool_core::tell_if_idle() noexcept {
  if (idle_waiters_.fetch_add(0, std::memory_order_seq_cst) == 0) return;
  const std::lock_guard lock(ending_);
  wake_if_ended();
}

void thread_pool_core::wake_if_ended() noexcept {
  if (idle_waiters_.load(std::memory_order_seq_cst) == 0 || !all_ended()) return;
  idle_.fetch_add(1, std::memory_order_seq_cst);
  os::futex_wake_all(idle_);
}

void thread_pool_core::require_own() const {
  if (epoch_ != worker::fork_epoch()) throw error("tandem: this pool belongs to the program that fork() copied");
}

bool thread_pool_core::wait_until(clock::time_point deadline) {
  require_own();
  if (current_worker != nullptr && &current_worker->pool == this) {
    throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                            "tandem: a task waits for the end of all tasks of its own pool");
  }
  idle_waiters_.fetch_add(1, std::memory_order_seq_cst);
  bool ended = false;
  for (;;) {
    const std::uint32_t seen = idle_.load(std::memory_order_seq_cst);
    ended = all_ended();
    if (ended || (deadline != os::never && clock::now() >= deadline)) break;
    os::futex_wait(idle_, seen, deadline);
  }
  idle_waiters_.fetch_sub(1, std::memory_order_seq_cst);
  const std::lock_guard lock(ending_);  // until who told us has let go
  return ended;
}

// Takes over the pool's hold.
void thread_pool_core::discard(thread_task* task) noexcept {
  if (task->end_unstarted_as(thread_task::as_cancelled)) {
    task->drop();
    cancelled_.fetch_add(1, std::memory_order_seq_cst);
  }
  leave_key(*task);
  task->release();
}

void thread_pool_core::cancel_pending() noexcept {
  drops_rest_.store(true, std::memory_order_relaxed);  // those that wait for one of their key which runs
  const auto take = [this]() -> thread_task* {
    const std::lock_guard lock(lock_);
    thread_task* task = ring_.pop();
    if (task == nullptr && (task = special_.pop(false)) != nullptr)
      special_ready_.fetch_sub(1, std::memory_order_relaxed);
    if (task != nullptr) --pending_;
    return task;
  };
  while (thread_task* const task = take()) discard(task);
  for (const auto& each : workers_) {
    for (;;) {
      each->ring_lock.lock();
      thread_task* const task = each->ring.pop();
      each->ring_lock.unlock();
      if (task == nullptr) break;
      discard(task);
    }
  }
  made_room();
  tell_if_idle();
}

shutdown_report thread_pool_core::shutdown(shutdown_options how) {
  const std::size_t ended_before = total(&task_counts::ended);
  const std::size_t cancelled_before = cancelled_.load();
  close();
  if (how.cancel_pending) cancel_pending();
  shutdown_report report;
  report.in_time = wait_until(deadline_after(how.within));
  if (!report.in_time) {
    cancel_pending();
    // Who asks for a token first makes itself known, then looks here.
    is_shut_down_.store(true, std::memory_order_seq_cst);
    for (const auto& each : workers_) each->stop_known();
  }
  report.done = total(&task_counts::ended) - ended_before;
  report.cancelled = cancelled_.load() - cancelled_before;
  return report;
}

pool_stats thread_pool_core::stats() const {
  pool_stats s;
  const std::size_t ended = total(&task_counts::ended);
  const std::size_t begun = total(&task_counts::begun);
  s.done = total(&task_counts::done);
  s.failed = total(&task_counts::failed);
  s.timed_out = timed_out_.load();
  s.overdue = overdue_.load();
  s.cancelled = cancelled_.load();
  s.submitted = total(&task_counts::submitted);
  s.running = begun - std::min(begun, ended);
  s.pending = s.submitted - std::min(s.submitted, begun + s.cancelled);
  for (const auto& each : workers_) s.workers.push_back(each->describe());
  return s;
}

}  // namespace tandem::pools
