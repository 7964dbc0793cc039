#pragma once
// What is behind a process_pool, whatever its tasks are.
#include <memory>

#include <tandem/detail/export.hpp>
#include <tandem/detail/future_state.hpp>
#include <tandem/detail/pool_options.hpp>
#include <tandem/detail/transfer_wire.hpp>

namespace tandem {
struct process_pool_options;
}
namespace tandem::pools {
class process_pool_core;
}

namespace tandem::detail {

class TANDEM_EXPORT process_engine {
 public:
  explicit process_engine(const process_pool_options& options);
  ~process_engine();
  process_engine(const process_engine&) = delete;
  process_engine& operator=(const process_engine&) = delete;

  state_ptr<future_state> submit(task_options&& options, message call);
  /// Empty if there is no room.
  state_ptr<future_state> try_submit(task_options&& options, message call);
  void close();
  bool wait_until(clock::time_point deadline);
  shutdown_report shutdown(const shutdown_options& how);
  pool_stats stats() const;
  unsigned workers() const noexcept;

 private:
  state_ptr<future_state> submit(task_options&& options, message call, int waits);
  pools::process_pool_core& core() const;
  std::shared_ptr<pools::process_pool_core> core_;
};

}  // namespace tandem::detail
