#include <tandem/detail/thread_task.hpp>

#include <array>
#include <mutex>

#include "pool/thread_pool_core.hpp"

namespace tandem {

namespace {

// Stop sources are rare: a few locks for all tasks.
std::mutex& stops_lock_of(const detail::thread_task* task) noexcept {
  static std::array<std::mutex, 32> locks;
  return locks[(reinterpret_cast<std::uintptr_t>(task) >> 6) % locks.size()];
}

}  // namespace

namespace detail {

thread_task::~thread_task() { pools::thread_pool_core::destroy_extra(*this); }

std::stop_token thread_task::token() {
  pools::thread_pool_core::know(*this);
  std::stop_token token;
  {
    const std::lock_guard lock(stops_lock_of(this));
    if (!stops_.stop_possible()) {
      std::stop_source made;
      stops_.swap(made);
    }
    token = stops_.get_token();
  }
  // Whoever asks marks first, then looks for the source: one of both sees the other.
  if ((mark(0) & stop_asked) != 0 || core_->is_shut_down()) ask_stop();
  return token;
}

void thread_task::ask_stop() {
  mark(stop_asked);
  std::unique_lock lock(stops_lock_of(this));
  std::stop_source source = stops_;
  lock.unlock();
  source.request_stop();
}

bool thread_task::help() { return core_ != nullptr && core_->help(*this); }

bool thread_task::stop(how) {
  if (end_unstarted_as(as_cancelled)) {
    drop();
    core_->was_cancelled();
    return true;
  }
  if (done()) return false;
  ask_stop();
  return true;
}

}  // namespace detail

void pools::task_extra::ring() noexcept {
  task->core_->became_overdue();  // first: who has the exception finds it in the counts
  if (task->end_as(detail::future_state::as_late)) {
    task->ask_stop();
  } else {
    task->core_->was_in_time();
  }
}

}  // namespace tandem
