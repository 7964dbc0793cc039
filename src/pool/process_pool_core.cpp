#include "pool/process_pool_core.hpp"

#include <algorithm>
#include <system_error>
#include <utility>

#include <tandem/error.hpp>
#include <tandem/init.hpp>

#include "os/kernel.hpp"
#include "pool/waiting.hpp"
#include "worker/fork_watch.hpp"

namespace tandem::pools {

// ---- the lock -----------------------------------------------------------------------------------------------------

void process_pool_core::section::finish(task_pointer task, fate how) noexcept {
  task->ending = how;
  pool_stats& counts = core_.counts_;
  switch (how) {
    case fate::value: ++counts.done; break;
    case fate::cancelled: ++counts.cancelled; break;
    case fate::late: ++counts.timed_out; break;
    default: ++counts.failed; break;
  }
  process_task* const added = task.get();
  if (last_ != nullptr) {
    last_->next_finished = std::move(task);
  } else {
    first_ = std::move(task);
  }
  last_ = added;
}

void process_pool_core::section::finish(task_pointer task, std::exception_ptr error) noexcept {
  task->error = std::move(error);
  finish(std::move(task), fate::error);
}

void process_pool_core::section::wake(host_worker& worker) {
  if (!worker.has_to_be_woken()) return;
  if (to_wake_) return host_worker::wake(*worker.map());
  to_wake_ = worker.shared_map();
}

void process_pool_core::section::leave() noexcept {
  if (!lock_.owns_lock()) return;
  lock_.unlock();
  if (to_wake_) host_worker::wake(**to_wake_);
  to_wake_ = nullptr;
  gone.clear();
  last_ = nullptr;
  std::uint32_t ended = 0;
  for (task_pointer task = std::move(first_); task; ++ended) {
    task_pointer next = std::move(task->next_finished);
    task->finish();
    task = std::move(next);
  }
  if (ended == 0 || core_.open_.fetch_sub(2 * ended, std::memory_order_acq_rel) % 2 == 0) return;
  // Who goes on waiting says so again: for what was submitted meanwhile it waits in another way.
  core_.open_.fetch_and(~1U, std::memory_order_acq_rel);
  os::futex_wake_all(core_.open_);
}

// ---- tasks in slots -----------------------------------------------------------------------------------------------

void process_pool_core::complete(section& s, host_worker& w, std::uint32_t index) {
  task_pointer task = w.collect(index);
  --placed_count_;
  if (w.down.why != ladder::reason::none && w.down.rung == 0 && w.down.index == index) w.down = {};
  if (options_.idle_timeout > nanoseconds::zero() && w.is_empty()) {
    w.idle_since = clock::now();
    set_alarm_at(deadline_after(options_.idle_timeout));
  }
  if (w.is_lost) w.retire_at = std::min(w.retire_at, clock::now());
  if (w.retire_at != os::never && !w.leaving && clock::now() >= w.retire_at) post_maintenance();
  if (!task) return;
  early_ends_ = early_kills_ = 0;
  const fate how = task->ending;
  s.finish(std::move(task), how);
}

void process_pool_core::sweep(section& s) {
  each_worker([&](const worker_pointer& w) { w->sweep([&](std::uint32_t index) { complete(s, *w, index); }); });
}

process_pool_core::placing process_pool_core::place(section& s, host_worker& w, const task_pointer& task) {
  try {
    switch (w.put(task)) {
      case host_worker::placed::yes: break;
      case host_worker::placed::no_room: return placing::no_room;
      case host_worker::placed::refused:
        if (w.is_unreachable || !w.is_empty())
          return placing::no_room;  // once it has read what is on its way, there is room
        if (w.finished != 0) {      // what is on its way is of tasks that were taken back: another worker gets it
          w.retire_at = clock::now();
          post_maintenance();
          return placing::no_room;
        }
        os::throw_failed("sendmsg", w.send_error());
    }
  } catch (...) {
    s.finish(task, std::current_exception());
    return placing::failed;
  }
  ++placed_count_;
  s.wake(w);
  see_to_deadline(*task);
  return placing::done;
}

void process_pool_core::see_to_deadline(const process_task& task) {
  // At the earliest that it can be due; then it is seen when it has begun.
  if (task.request.deadline > nanoseconds::zero()) set_alarm_at(deadline_after(task.request.deadline));
}

// Tasks with keys wait while one of them may still run in a worker that has left the seat.
bool process_pool_core::takes_keyed(const seat& one) const {
  if (!one.worker || !one.worker->accepts()) return false;
  return std::none_of(retiring_.begin(), retiring_.end(), [&](const worker_pointer& w) {
    if (w->seat != one.worker->seat) return false;
    const std::uint32_t index = w->claimed_index();
    return index != slot_count && (!w->at(index) || w->at(index)->request.key);
  });
}

// The worker with the least to do; of a task with a key, the one that has all of that key.
host_worker* process_pool_core::choose(section& s, const process_task& task) {
  if (task.request.key) {
    seat& own = seats_[*task.request.key % seats_.size()];
    const bool free = own.keyed.empty() && takes_keyed(own) && own.worker->has_room();
    return free ? own.worker.get() : nullptr;
  }
  host_worker* best = nullptr;
  for (int look = 0; look < 2; ++look) {
    for (std::size_t i = 0; i < seats_.size(); ++i) {
      host_worker* const w = seats_[(next_seat_ + i) % seats_.size()].worker.get();
      if (w == nullptr || !w->accepts() || !w->has_room()) continue;
      if (best == nullptr || w->load() < best->load()) best = w;
    }
    if (best != nullptr && (best->is_empty() || seats_.size() == 1)) break;
    if (look == 0) {  // what has ended and was not fetched is no load
      sweep(s);
      best = nullptr;
    }
  }
  next_seat_ = next_seat_ + 1 == seats_.size() ? 0 : next_seat_ + 1;
  return best;
}

// ---- tasks that wait ----------------------------------------------------------------------------------------------

void process_pool_core::add_pending(const task_pointer& task, bool first) noexcept {
  std::deque<task_pointer>& queue =
      task->request.key ? seats_[*task->request.key % seats_.size()].keyed : pending_[task->request.priority];
  if (first) {
    queue.push_front(task);
  } else {
    queue.push_back(task);
  }
  ++(task->request.key ? keyed_count_ : pending_count_);
}

bool process_pool_core::refill_keyed(section& s) {
  bool placed = false;
  for (seat& one : seats_) {
    while (!one.keyed.empty() && takes_keyed(one)) {
      if (one.keyed.front()->ending != fate::none) {  // cancelled while it waited
        one.keyed.pop_front();
        continue;
      }
      const placing how = place(s, *one.worker, one.keyed.front());
      if (how == placing::no_room) {
        one.worker->sweep([&](std::uint32_t index) { complete(s, *one.worker, index); });
        if (!one.worker->has_room() || place(s, *one.worker, one.keyed.front()) == placing::no_room) break;
      }
      one.keyed.pop_front();
      --keyed_count_;
      placed = true;
    }
  }
  return placed;
}

// What waits goes where there is room, the highest priority first.
void process_pool_core::refill(section& s) {
  bool placed = false;
  do {
    placed = (keyed_count_ != 0 && refill_keyed(s)) || placed;
    while (pending_count_ != 0) {
      const auto queue = pending_.begin();
      if (queue->second.empty()) {
        pending_.erase(queue);
        continue;
      }
      if (queue->second.front()->ending != fate::none) {  // cancelled while it waited
        queue->second.pop_front();
        continue;
      }
      host_worker* const w = choose(s, *queue->second.front());
      if (w == nullptr || place(s, *w, queue->second.front()) == placing::no_room) break;
      queue->second.pop_front();
      --pending_count_;
      placed = true;
    }
    // Workers that ran dry before they knew that they have to ring are seen now.
  } while (update_rings() && (pending_count_ != 0 || keyed_count_ != 0));
  if (pending_count_ == 0) pending_.clear();
  if (placed) tell_space();
}

// A task of that priority goes before all that was not begun.
void process_pool_core::pull_back_below(int priority) {
  const auto keeps = [&](const process_task& t) {
    return t.request.priority >= priority || t.request.key || !t.call.handles.empty();
  };
  each_worker([&](const worker_pointer& w) {
    if (w->is_empty() || w->lowest_priority >= priority) return;
    std::vector<task_pointer> taken = w->take_back_all(keeps);
    placed_count_ -= taken.size();
    for (auto task = taken.rbegin(); task != taken.rend(); ++task) add_pending(*task, true);
  });
}

// Workers that have nothing get some of what others have not begun.
void process_pool_core::share_out(section& s) {
  if (pending_count_ != 0 || seats_.size() == 1) return;
  const auto keeps = [](const process_task& t) { return t.request.key || !t.call.handles.empty(); };
  for (seat& idle : seats_) {
    if (!idle.worker || !idle.worker->accepts() || !idle.worker->is_empty()) continue;
    host_worker* most = nullptr;
    std::size_t most_unclaimed = 0;
    each_worker([&](const worker_pointer& w) {
      if (w->load() < 2 && w->down.why == ladder::reason::none) return;
      const std::size_t unclaimed = w->unclaimed();
      if (unclaimed > most_unclaimed) {
        most = w.get();
        most_unclaimed = unclaimed;
      }
    });
    if (most == nullptr) return;
    std::vector<task_pointer> taken = most->take_back_all(keeps, (most_unclaimed + 1) / 2);
    placed_count_ -= taken.size();
    for (const task_pointer& task : taken) {
      if (place(s, *idle.worker, task) == placing::no_room) add_pending(task, true);
    }
    if (taken.empty()) return;
  }
}

// Workers ring when they run dry if there is, or may be, something for them.
// True if they do from now on, and have not before.
bool process_pool_core::update_rings() noexcept {
  const bool dry = pending_count_ != 0 || keyed_count_ != 0 || (seats_.size() > 1 && placed_count_ > seats_.size());
  const bool each = blocked_ != 0;
  if (dry == rings_dry_ && each == rings_each_) return false;
  const bool begins = dry && !rings_dry_;
  rings_dry_ = dry;
  rings_each_ = each;
  each_worker([&](const worker_pointer& w) {
    // Pairs with the worker's loads: it sees this, or the words of its slots, which are looked at next, tell what it did.
    w->map()->ring_dry.store(dry ? 1 : 0, std::memory_order_seq_cst);
    w->map()->ring_each.store(each ? 1 : 0, std::memory_order_seq_cst);
  });
  return begins;
}

std::size_t process_pool_core::waiting_now() const noexcept {
  std::size_t waiting = pending_count_ + keyed_count_;
  for (const seat& s : seats_) {
    if (s.worker) waiting += s.worker->unclaimed();
  }
  return waiting;
}

void process_pool_core::tell_space() noexcept {
  if (blocked_ == 0) return;
  space_.fetch_add(1, std::memory_order_seq_cst);
  os::futex_wake_all(space_);
}

void process_pool_core::require_open() const {
  if (failure_) std::rethrow_exception(failure_);
  if (closed_) throw closed("tandem: submit to a pool that was closed");
}

bool process_pool_core::submit(const task_pointer& task, bool waits) {
  section s(*this);
  require_open();
  while (pending_count_ + keyed_count_ + placed_count_ >= options_.max_pending) {
    sweep(s);
    refill(s);
    if (waiting_now() < options_.max_pending) break;
    if (!waits) return false;
    if (worker::is_service_thread()) {
      throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                              "tandem: a callback would wait for room in a pool, which is made where it runs; "
                              "use try_submit()");
    }
    ++blocked_;
    update_rings();
    // Those that were claimed before the worker knew that it has to ring are seen here.
    const std::uint32_t seen = space_.load(std::memory_order_seq_cst);
    const bool full = waiting_now() >= options_.max_pending;
    s.leave();
    if (full) os::futex_wait(space_, seen);
    s.enter();
    --blocked_;
    require_open();
  }
  task->pool = shared_from_this();
  task->number = ++counts_.submitted;
  open_.fetch_add(2, std::memory_order_relaxed);
  has_priorities_ = has_priorities_ || task->request.priority != 0;
  if (has_priorities_) pull_back_below(task->request.priority);
  host_worker* const w = pending_count_ == 0 ? choose(s, *task) : nullptr;
  if (w == nullptr || place(s, *w, task) == placing::no_room) add_pending(task, false);
  if (pending_count_ != 0 || keyed_count_ != 0) {
    refill(s);
  } else if (!rings_dry_ && seats_.size() > 1 && placed_count_ > seats_.size() && update_rings()) {
    sweep(s);
    share_out(s);
  }
  if (wanted_ < seats_.size() && placed_count_ + pending_count_ + keyed_count_ > wanted_) {
    ++wanted_;
    post_maintenance();
  }
  return true;
}

// ---- tasks, as their futures see them -----------------------------------------------------------------------------

void process_pool_core::collect(process_task& task) {
  section s(*this);
  if (task.worker == nullptr || !has_ended(task.worker->word_at(task.index))) return;
  complete(s, *task.worker, task.index);
  if (pending_count_ != 0 || keyed_count_ != 0 || rings_dry_) refill(s);
  tell_space();
}

void process_pool_core::sleep(process_task& task, clock::time_point deadline) {
  std::shared_ptr<region_map> map;
  std::uint32_t w = 0;
  word* state = nullptr;
  {
    section s(*this);
    if (task.done()) return;
    if (task.worker != nullptr) {
      map = task.worker->shared_map();
      state = &(*map)->slots[task.index].state;
      w = state->load(std::memory_order_seq_cst);
    } else if (!task.announce()) {  // under the lock, so that whoever gives it a place knows
      return;
    }
  }
  if (state == nullptr) return task.future_state::sleep(deadline);
  const std::uint32_t turn = w >> turn_shift;
  while ((w >> turn_shift) == turn && (step_of(w) == step::queued || step_of(w) == step::claimed) &&
         (w & left_bit) == 0) {
    if ((w & waited_bit) != 0 || state->compare_exchange_strong(w, w | waited_bit)) {
      os::futex_wait(*state, w | waited_bit, deadline);
      return;
    }
  }
}

void process_pool_core::watch(process_task& task) {
  section s(*this);
  if (task.watched) return;
  task.watched = true;
  if (task.worker == nullptr) return;
  task.worker->watch(task.index);
  if (has_ended(task.worker->word_at(task.index))) complete(s, *task.worker, task.index);
}

bool process_pool_core::cancel(process_task& task, detail::how h) {
  section s(*this);
  if (task.ending != fate::none) return false;
  task.retain();
  task_pointer self(&task);
  host_worker* const w = task.worker;
  if (w == nullptr) {  // where it waits it is passed over
    --(task.request.key ? keyed_count_ : pending_count_);
    s.finish(std::move(self), fate::cancelled);
    forget_ended(task);
    tell_space();
    return true;
  }
  if (w->take_back(task.index)) {
    --placed_count_;
    s.finish(std::move(self), fate::cancelled);
    refill(s);
    tell_space();
    return true;
  }
  if (has_ended(w->word_at(task.index))) {
    complete(s, *w, task.index);
    return false;
  }
  task.is_stopped = true;
  w->request_stop(task.index);
  if (h == detail::how::hard && w->down.why == ladder::reason::none) {
    task.is_cancelled_hard = true;
    begin_ladder(*w, task.index, ladder::reason::hard_cancel);
  }
  return true;
}

// Those that were cancelled stay where they waited until they come to the front, but never more of them than of others.
void process_pool_core::forget_ended(const process_task& task) {
  constexpr std::size_t few = 64;
  std::deque<task_pointer>* queue = nullptr;
  if (task.request.key) {
    queue = &seats_[*task.request.key % seats_.size()].keyed;
  } else if (const auto found = pending_.find(task.request.priority); found != pending_.end()) {
    queue = &found->second;
  }
  if (queue == nullptr || queue->size() < few || queue->size() / 2 < pending_count_ + keyed_count_) return;
  std::erase_if(*queue, [](const task_pointer& each) { return each->ending != fate::none; });
}

// ---- the pool as a whole ------------------------------------------------------------------------------------------

void process_pool_core::close() noexcept {
  section s(*this);
  closed_ = true;
  tell_space();
}

// One that has not ended.
task_pointer process_pool_core::any_open() const {
  task_pointer found;
  const auto look = [&](const worker_pointer& w) {
    if (w && !found) {
      w->each_slot([&](std::uint32_t index) {
        if (!found && w->at(index)) found = w->at(index);
      });
    }
  };
  for (const seat& s : seats_) look(s.worker);
  for (const worker_pointer& w : retiring_) look(w);
  const auto look_in = [&](const std::deque<task_pointer>& queue) {
    for (const task_pointer& task : queue) {
      if (!found && task->ending == fate::none) found = task;
    }
  };
  for (const auto& queue : pending_) look_in(queue.second);
  for (const seat& s : seats_) look_in(s.keyed);
  return found;
}

bool process_pool_core::wait_until(clock::time_point deadline) {
  for (;;) {
    task_pointer one;
    {
      section s(*this);
      sweep(s);
      refill(s);
      one = any_open();
    }
    std::uint32_t open = open_.load(std::memory_order_acquire);
    if (open < 2) return true;
    if (one) {
      one->wait_until(deadline);
    } else if (open_.compare_exchange_strong(open, open | 1U, std::memory_order_acq_rel)) {
      os::futex_wait(open_, open | 1U, deadline);  // others are about to end what is left
    }
    if (deadline != os::never && clock::now() >= deadline) return open_.load(std::memory_order_acquire) < 2;
  }
}

void process_pool_core::fail_waiting(section& s, const std::exception_ptr& error) {
  const auto fail = [&](std::deque<task_pointer>& queue) {
    for (task_pointer& task : queue) {
      if (task->ending != fate::none) continue;
      if (error) {
        s.finish(std::move(task), error);
      } else {
        s.finish(std::move(task), fate::cancelled);
      }
    }
    queue.clear();
  };
  for (auto& queue : pending_) fail(queue.second);
  for (seat& one : seats_) fail(one.keyed);
  pending_.clear();
  pending_count_ = keyed_count_ = 0;
  each_worker([&](const worker_pointer& w) {
    std::vector<task_pointer> taken = w->take_back_all([](const process_task&) { return false; });
    placed_count_ -= taken.size();
    for (task_pointer& task : taken) {
      if (error) {
        s.finish(std::move(task), error);
      } else {
        s.finish(std::move(task), fate::cancelled);
      }
    }
  });
  tell_space();
}

void process_pool_core::cancel_waiting(section& s) { fail_waiting(s, nullptr); }

shutdown_report process_pool_core::shutdown(const shutdown_options& how) {
  pool_stats before;
  std::size_t killed_before = 0;
  const clock::time_point deadline = deadline_after(how.within);
  {
    section s(*this);
    before = counts_;
    killed_before = killed_;
    closed_ = true;
    tell_space();
    if (how.cancel_pending) cancel_waiting(s);
  }
  shutdown_report report;
  report.in_time = wait_until(deadline);
  if (!report.in_time) {
    section s(*this);
    cancel_waiting(s);
    each_worker([&](const worker_pointer& w) {
      const std::uint32_t index = w->claimed_index();
      if (index == slot_count) return;
      w->request_stop(index);
      w->leaving = true;
      w->down = {ladder::reason::out_of_time, 1, index, clock::now()};
    });
    post_maintenance();
  }
  if (!report.in_time) wait_until(os::never);
  section s(*this);
  report.done = counts_.done - before.done;
  report.cancelled = counts_.cancelled - before.cancelled;
  report.killed = killed_ - killed_before;
  return report;
}

pool_stats process_pool_core::stats() {
  section s(*this);
  sweep(s);
  refill(s);
  pool_stats now = counts_;
  now.pending = waiting_now();
  each_worker([&](const worker_pointer& w) {
    const std::uint32_t claimed = w->claimed_index();
    if (claimed != slot_count) ++(w->at(claimed) ? now.running : now.overdue);
    worker_info one{w->process().id(), w->name(), true, {}, w->since(), os::resident_bytes(w->process().id())};
    if (claimed != slot_count && w->at(claimed)) one.task = w->at(claimed)->request.name;
    now.workers.push_back(std::move(one));
  });
  return now;
}

worker_info process_pool_core::describe(const host_worker& w) {
  section s(*this);
  worker_info one{w.process().id(), w.name(), true, {}, w.since(), os::resident_bytes(w.process().id())};
  const std::uint32_t claimed = w.claimed_index();
  if (claimed != slot_count && w.at(claimed)) one.task = w.at(claimed)->request.name;
  return one;
}

worker_info host_worker::describe() const {
  if (const auto owner = pool.lock()) return owner->describe(*this);
  return {process_.id(), name(), true, {}, since_, 0};
}

bool process_pool_core::of_this_process() const noexcept { return epoch_ == worker::fork_epoch(); }

}  // namespace tandem::pools
