#pragma once
// Ending many threads and processes at once. Included by both <tandem/thread.hpp> and <tandem/process.hpp>, and needs
// neither.
#include <span>
#include <vector>

#include <tandem/detail/export.hpp>

namespace tandem {

template <class R>
class process;

namespace detail {

class process_handle;
template <class R>
process_handle& get_handle(process<R>&) noexcept;
/// Takes all of them down the ladder at once. Blocks: until the last has ended. Never throws.
TANDEM_EXPORT void finish_all(std::span<process_handle* const> handles) noexcept;

}  // namespace detail

/// Ends every thread and process of `units`, together: asks all of them for a stop; a process that does not end within
/// its `stop_grace` gets SIGTERM, and after its `kill_grace` is killed; a thread can only be asked. Then all are joined.
/// `units`: a range of tandem::thread or tandem::process, of any results; empty ones are passed over.
/// Blocks: until the last has ended, processes for no longer than the longest ladder of one. Threads: as the
/// destructors. Errors: none for how they end; std::bad_alloc before anything was asked.
template <class Units>
void stop_all(Units& units) {
  std::vector<detail::process_handle*> processes;
  for (auto& unit : units) {
    if constexpr (requires { unit.terminate(); }) processes.push_back(&detail::get_handle(unit));
  }
  for (auto& unit : units) unit.request_stop();
  detail::finish_all(processes);
  for (auto& unit : units) {
    if (unit.joinable()) unit.join();
  }
}

}  // namespace tandem
