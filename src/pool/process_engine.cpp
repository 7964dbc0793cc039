#include <tandem/detail/pool_engine.hpp>

#include <tandem/process_pool.hpp>

#include "pool/process_pool_core.hpp"

namespace tandem::detail {

process_engine::process_engine(process_pool_options options)
    : core_(std::make_shared<pools::process_pool_core>(std::move(options))) {
  core_->start();
}

process_engine::process_engine(process_engine&&) noexcept = default;

process_engine& process_engine::operator=(process_engine&& other) noexcept {
  process_engine taken(std::move(other));
  std::swap(core_, taken.core_);
  return *this;
}

process_engine::~process_engine() {
  if (!core_) return;  // it was moved from
  if (core_->of_this_process()) {
    core_->end();
  } else {  // the locks in there are as they were when this process was copied
    static_cast<void>(
        new std::shared_ptr<pools::process_pool_core>(std::move(core_)));  // NOLINT: without memory it ends
  }
}

pools::process_pool_core& process_engine::core() const {
  if (!core_->of_this_process()) throw error("tandem: this pool belongs to the program that fork() copied");
  return *core_;
}

state_ptr<future_state> process_engine::submit(task_options&& o, message call, int waits) {
  pools::process_pool_core& pool = core();
  task_pointer task(new process_task(std::move(o), std::move(call)));
  if (!pool.submit(task, waits != 0)) return {};
  return state_ptr<future_state>(task.give_up());
}

state_ptr<future_state> process_engine::submit(task_options&& options, message call) {
  return submit(std::move(options), std::move(call), 1);
}
state_ptr<future_state> process_engine::try_submit(task_options&& options, message call) {
  return submit(std::move(options), std::move(call), 0);
}
void process_engine::close() noexcept {
  if (core_->of_this_process()) core_->close();
}
bool process_engine::wait_until(clock::time_point deadline) { return core().wait_until(deadline); }
shutdown_report process_engine::shutdown(const shutdown_options& how) { return core().shutdown(how); }
pool_stats process_engine::stats() const { return core().stats(); }
unsigned process_engine::workers() const noexcept { return core_->workers(); }

}  // namespace tandem::detail
