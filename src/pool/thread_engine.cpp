#include "pool/thread_pool_core.hpp"

namespace tandem::detail {

thread_engine::thread_engine(start s) : core_(std::make_unique<pools::thread_pool_core>(std::move(s))) {}
thread_engine::thread_engine(thread_engine&&) noexcept = default;
thread_engine& thread_engine::operator=(thread_engine&&) noexcept = default;
thread_engine::~thread_engine() = default;

void thread_engine::submit(thread_task& task, const task_options* options) const { core_->submit(task, options, true); }
bool thread_engine::try_submit(thread_task& task, const task_options* options) const {
  return core_->submit(task, options, false);
}
void thread_engine::close() const noexcept { core_->close(); }
bool thread_engine::wait_until(clock::time_point deadline) const { return core_->wait_until(deadline); }
shutdown_report thread_engine::shutdown(shutdown_options how) const { return core_->shutdown(how); }
pool_stats thread_engine::stats() const { return core_->stats(); }
unsigned thread_engine::workers() const noexcept { return core_->workers(); }

}  // namespace tandem::detail
