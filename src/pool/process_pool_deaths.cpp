// The ends of workers that nobody asked for, and what becomes of their tasks. In the service thread.
#include <algorithm>
#include <utility>

#include <tandem/error.hpp>

#include "pool/process_pool_core.hpp"

namespace tandem::pools {

process_pool_core::process_end process_pool_core::look_at_end(host_worker& w) {
  process_end end;
  try {
    end.report = w.process().report();
    end.lost = end.report && end.report->status.why() == cause::host_lost;
    if (!end.report && w.process().status()->kind() == ending::threw) {
      try {
        w.process().take();
      } catch (...) {
        end.thrown = std::current_exception();
      }
    }
  } catch (...) {  // not even that can be had
    end.report = crash_report{};
    end.report->status = exit_status::make(ending::signalled, sigkill, cause::host_lost);
    end.lost = true;
  }
  return end;
}

void process_pool_core::hear_end(const worker_pointer& w) {
  const std::lock_guard serving(service_mutex_);
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
  }
  const process_end end = look_at_end(*w);
  drop_listeners(*w);
  {
    section s(*this);
    settle(s, *w, end);
    remove(*w, s);
    refill(s);
  }
  maintain();
}

void process_pool_core::remove(const host_worker& w, section& s) {
  const auto is_it = [&](const worker_pointer& one) { return one.get() == &w; };
  for (seat& one : seats_) {
    if (!is_it(one.worker)) continue;
    s.gone.push_back(std::move(one.worker));
    one.worker = nullptr;
  }
  for (std::vector<worker_pointer>* list : {&spares_, &retiring_}) {
    const auto found = std::find_if(list->begin(), list->end(), is_it);
    if (found == list->end()) continue;
    s.gone.push_back(std::move(*found));
    list->erase(found);
  }
}

// Each of its tasks, by its slot: has it ended, was it begun, or does it go elsewhere?
void process_pool_core::settle(section& s, host_worker& w, const process_end& end) {
  w.drain();
  std::vector<std::uint32_t> all;
  w.each_slot([&](std::uint32_t index) { all.push_back(index); });
  std::vector<task_pointer> again;
  bool was_busy = false;
  for (const std::uint32_t index : all) {
    if (has_ended(w.word_at(index))) {
      was_busy = true;
      complete(s, w, index);
      continue;
    }
    task_pointer task = w.at(index);
    if (w.take_back(index)) {
      --placed_count_;
      again.push_back(std::move(task));
      continue;
    }
    was_busy = true;
    w.leave(index);
    w.collect(index);  // it has no task any more: only its place
    --placed_count_;
    if (task && settle_claimed(s, w, task, end)) again.push_back(std::move(task));
  }
  for (auto task = again.rbegin(); task != again.rend(); ++task) add_pending(*task, true);
  ++counts_.restarts;
  note_end(s, w, end, was_busy || w.finished != 0);
}

// The task that it was at. True if it is to run again.
bool process_pool_core::settle_claimed(section& s, host_worker& w, const task_pointer& task, const process_end& end) {
  if (task->is_cancelled_hard || w.down.why == ladder::reason::out_of_time) {
    s.finish(task, fate::cancelled);
    return false;
  }
  if (end.lost) {
    ++counts_.retried;
    ++task->attempt;
    return true;
  }
  ++counts_.crashed;
  ++task->killed;
  if (task->killed <= task->request.retries && !task->is_stopped) {
    ++counts_.retried;
    ++task->attempt;
    return true;
  }
  crash_report report = end.report.value_or(crash_report{});
  report.task = task->request.name.empty() ? "task " + std::to_string(task->number) : task->request.name;
  report.worker = w.name();
  report.pid = w.process().id();
  report.attempt = task->attempt;
  report.quarantined = task->killed > task->request.retries;
  const bool exited = report.status.kind() == ending::exited;
  s.finish(task,
           exited ? std::make_exception_ptr(worker_exited(report)) : std::make_exception_ptr(worker_crashed(report)));
  return false;
}

// A worker that ends before it has done anything says that workers cannot live here; then the next ones wait, and in the
// end the pool gives up. What its initializer threw, or how that ended it, is that of the pool at once.
void process_pool_core::note_end(section& s, host_worker& w, const process_end& end, bool was_busy) {
  if (end.thrown && w.is_initialising()) return fail_pool(s, end.thrown);
  if (was_busy || end.lost || w.leaving || (w.is_ready() && !end.report)) return;
  // SIGKILL comes from a stranger, who may tire of it: by the last of so many, some fifteen seconds have passed with nothing
  // done.
  constexpr unsigned most_early = 10;
  constexpr unsigned most_killed = 40;
  constexpr unsigned most_killed_initialising = 6;
  const bool by_stranger = end.report && end.report->status.signal() == sigkill;
  ++(by_stranger ? early_kills_ : early_ends_);
  const bool too_many = by_stranger ? early_kills_ >= most_killed : early_ends_ >= most_early;
  if ((w.is_initialising() && (!by_stranger || early_kills_ >= most_killed_initialising)) ||
      (!w.is_ready() && too_many)) {
    if (end.thrown) return fail_pool(s, end.thrown);
    crash_report report = end.report.value_or(crash_report{});
    report.task = w.is_initialising() ? "the initializer" : "the start of a worker";
    const bool exited = report.status.kind() == ending::exited;
    return fail_pool(
        s, exited ? std::make_exception_ptr(worker_exited(report)) : std::make_exception_ptr(worker_crashed(report)));
  }
}

// Those that a stranger kills one by one are replaced at once for a while, so that there are others meanwhile.
unsigned process_pool_core::discouraging_ends() const noexcept {
  constexpr unsigned replaced_at_once = 10;
  return early_ends_ + (early_kills_ > replaced_at_once ? early_kills_ - replaced_at_once : 0);
}

void process_pool_core::fail_pool(section& s, const std::exception_ptr& error) {
  if (failure_) return;
  failure_ = error;
  fail_waiting(s, error);
}

}  // namespace tandem::pools
