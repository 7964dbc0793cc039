#pragma once
// What is behind a process_pool, whatever its tasks are, and how a call becomes a task of it.
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <tandem/detail/call.hpp>
#include <tandem/detail/export.hpp>
#include <tandem/detail/future_state.hpp>
#include <tandem/detail/pool_options.hpp>
#include <tandem/detail/process_handle.hpp>
#include <tandem/detail/transfer_callable.hpp>
#include <tandem/detail/transfer_wire.hpp>
#include <tandem/future.hpp>

namespace tandem {
struct process_pool_options;
}
namespace tandem::pools {
class process_pool_core;
}

namespace tandem::detail {

class TANDEM_EXPORT process_engine {
 public:
  explicit process_engine(process_pool_options options);
  process_engine(process_engine&&) noexcept;
  process_engine& operator=(process_engine&&) noexcept;
  ~process_engine();

  state_ptr<future_state> submit(task_options&& options, message call);
  /// Empty if there is no room.
  state_ptr<future_state> try_submit(task_options&& options, message call);
  void close() noexcept;
  bool wait_until(clock::time_point deadline);
  shutdown_report shutdown(const shutdown_options& how);
  pool_stats stats() const;
  unsigned workers() const noexcept;

 private:
  state_ptr<future_state> submit(task_options&& options, message call, int waits);
  pools::process_pool_core& core() const;
  std::shared_ptr<pools::process_pool_core> core_;
};

/// Refuses to compile, in a readable sentence, what cannot run in another process. F, A: decayed.
template <class R, class F, class... A>
constexpr void require_crossing() {
  static_assert(!is_not_callable<R>,
                "tandem: this function cannot be called with these arguments (they are decayed and passed as rvalues, "
                "with a std::stop_token before them if the function takes one)");
  static_assert(!std::is_reference_v<R>,
                "tandem: a task that may run in another process cannot return a reference: return a value");
  require_callable<F>();
  (require_transferable<carried_t<A>>(), ...);
  if constexpr (!std::is_void_v<R> && !is_not_callable<R>) require_transferable<std::remove_cvref_t<R>>();
}

template <class R, class F, class... A>
message encode_task(const F& f, const A&... arguments) {
  require_crossing<R, F, A...>();
  if constexpr (crosses_as_call<R, F, A...>) return make_call<R>(f, arguments...);
  return {};
}

template <class R, class F, class... A>
future<R> submit_call(process_engine& engine, task_options&& options, F&& f, A&&... arguments) {
  return future_access::make<R>(
      engine.submit(std::move(options), encode_task<R>(to_encode<F>(f), to_encode<A>(arguments)...)));
}
template <class R, class F, class... A>
std::optional<future<R>> try_submit_call(process_engine& engine, task_options&& options, F&& f, A&&... arguments) {
  auto state = engine.try_submit(std::move(options), encode_task<R>(to_encode<F>(f), to_encode<A>(arguments)...));
  return state ? std::optional(future_access::make<R>(std::move(state))) : std::nullopt;
}

}  // namespace tandem::detail
