#include <tandem/detail/pool_engine.hpp>

#include <tandem/process_pool.hpp>

#include "pool/process_pool_core.hpp"

namespace tandem::detail {

process_engine::process_engine(const process_pool_options& options)
    : core_(std::make_shared<pools::process_pool_core>(options)) {
  core_->start();
}

process_engine::~process_engine() {
  if (core_->of_this_process()) {
    core_->end();
  } else {  // the locks in there are as they were when this process was copied
    static_cast<void>(new std::shared_ptr<pools::process_pool_core>(std::move(core_)));
  }
}

pools::process_pool_core& process_engine::core() const {
  if (!core_->of_this_process()) throw error("tandem: this pool belongs to the program that fork() copied");
  return *core_;
}

state_ptr<future_state> process_engine::submit(task_options&& o, message call, int waits) {
  pools::process_pool_core& pool = core();
  task_pointer task(new process_task({std::move(o.name), o.deadline, o.retries, o.priority, o.key}, std::move(call)));
  if (!pool.submit(task, waits != 0)) return {};
  return state_ptr<future_state>(task.give_up());
}

state_ptr<future_state> process_engine::submit(task_options&& options, message call) {
  return submit(std::move(options), std::move(call), 1);
}
state_ptr<future_state> process_engine::try_submit(task_options&& options, message call) {
  return submit(std::move(options), std::move(call), 0);
}
void process_engine::close() { core().close(); }
bool process_engine::wait_until(clock::time_point deadline) { return core().wait_until(deadline); }
shutdown_report process_engine::shutdown(const shutdown_options& how) { return core().shutdown(how); }
pool_stats process_engine::stats() const { return core().stats(); }
unsigned process_engine::workers() const noexcept { return core_->workers(); }

}  // namespace tandem::detail
