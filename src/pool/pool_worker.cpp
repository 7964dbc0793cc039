#include <tandem/error.hpp>

#include "pool/thread_pool_core.hpp"

namespace tandem::pools {

pool_worker::pool_worker(thread_pool_core& owner, std::string name, std::size_t i)
    : thread_core(std::move(name)), pool(owner), index(i) {}

void pool_worker::run() { pool.serve(*this); }

worker_info pool_worker::describe() const {
  worker_info info = thread_core::describe();
  const std::lock_guard lock(knowing_);
  if (!known_.empty()) {
    const auto& [task, since] = known_.back();
    if (const std::string* const task_name = thread_pool_core::name_of(*task)) info.task = *task_name;
    info.since = since;
  }
  return info;
}

void pool_worker::begin_known(thread_task& task) {
  const std::lock_guard lock(knowing_);
  if (!known_.empty() && known_.back().first == &task) return;
  known_.emplace_back(&task, clock::now());
}

void pool_worker::end_known(thread_task& task) noexcept {
  const std::lock_guard lock(knowing_);
  if (!known_.empty() && known_.back().first == &task) known_.pop_back();
}

void pool_worker::stop_known() noexcept {
  std::vector<detail::state_ptr<thread_task>> running;
  try {
    const std::lock_guard lock(knowing_);
    for (const auto& [task, since] : known_) {
      task->retain();
      running.emplace_back(task);
    }
  } catch (const std::bad_alloc&) {  // those that were found are asked
  }
  for (const auto& task : running) thread_pool_core::ask_stop(*task);
}

}  // namespace tandem::pools
