#include <tandem/detail/thread_task.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <stop_token>
#include <unordered_map>

#include "pool/thread_pool_core.hpp"

namespace tandem {

namespace {

using detail::thread_task;

// Stop sources are rare, and no part of a task: most tasks fit into one cache line. A few locks for all of them.
struct stop_sources {
  std::mutex mutex;
  std::unordered_map<const thread_task*, std::stop_source> of;
};
stop_sources& stop_sources_of(const thread_task* task) noexcept {
  using table = std::array<stop_sources, 32>;
  // Never destroyed: tasks may be let go by destructors of static objects.
  alignas(table) static std::array<std::byte, sizeof(table)> memory;
  static table& all = *::new (static_cast<void*>(memory.data())) table;
  return all[(reinterpret_cast<std::uintptr_t>(task) >> 6) % all.size()];
}

}  // namespace

namespace detail {

thread_task::~thread_task() {
  pools::thread_pool_core::destroy_extra(*this);
  if ((word() & has_token) == 0) return;
  stop_sources& sources = stop_sources_of(this);
  const std::lock_guard lock(sources.mutex);
  sources.of.erase(this);
}

std::stop_token thread_task::token() {
  mark(has_token);  // first: what follows may throw, and the runner forgets the task by that
  pools::thread_pool_core::know(*this);
  stop_sources& sources = stop_sources_of(this);
  std::stop_token token;
  {
    const std::lock_guard lock(sources.mutex);
    token = sources.of[this].get_token();
  }
  // Whoever asks marks first, then looks for the source: one of both sees the other.
  if ((mark(0) & stop_asked) != 0 || core_->is_shut_down()) ask_stop();
  return token;
}

void thread_task::ask_stop() {
  mark(stop_asked);
  std::stop_source source{std::nostopstate};
  {
    stop_sources& sources = stop_sources_of(this);
    const std::lock_guard lock(sources.mutex);
    if (const auto found = sources.of.find(this); found != sources.of.end()) source = found->second;
  }
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
