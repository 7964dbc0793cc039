#pragma once
// What a function can ask about the thread or process that runs it; and which ones run.
#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include <tandem/deadline.hpp>
#include <tandem/detail/export.hpp>

namespace tandem {

/// One thread or process that runs.
struct worker_info {
  pid_t pid = 0;  // of a thread: its kernel tid
  std::string name = {};
  bool is_process = false;
  std::string task = {};
  clock::time_point since{};
  std::size_t memory_bytes = 0;  // resident; of a thread: 0, its memory is the program's
};

/// The threads and processes that this process started through tandem and that have not ended.
/// Blocks: never for long. Threads: any. Errors: std::bad_alloc; without /proc, memory_bytes is 0. Cost: a read of
/// /proc for each process.
TANDEM_EXPORT std::vector<worker_info> active_workers();

/// About the innermost unit that runs the caller. In a thread that tandem did not start: about its process.
namespace this_worker {

/// The name given to it, or the one made up for it; empty if no tandem unit runs the caller.
/// Errors: std::bad_alloc.
TANDEM_EXPORT std::string name();
/// A thread's kernel tid, else the pid, as this process sees it.
TANDEM_EXPORT pid_t id() noexcept;
/// True in a worker process, but not in a tandem::thread that runs there.
TANDEM_EXPORT bool is_process() noexcept;
/// True in a tandem::thread.
TANDEM_EXPORT bool is_thread() noexcept;
/// False once the program that started this worker process has ended.
TANDEM_EXPORT bool parent_alive() noexcept;
/// Which try at its task this is, from 1.
TANDEM_EXPORT unsigned attempt() noexcept;
/// When its task has to be done, if it has a deadline.
TANDEM_EXPORT std::optional<clock::time_point> deadline() noexcept;
/// Sees a stop that was requested of the unit; one that nobody can stop gives an empty token.
/// Errors: resource_exhausted, unsupported (in a process, its first call starts the thread that listens). Cost: then as
/// a copy.
TANDEM_EXPORT std::stop_token stop_token();

}  // namespace this_worker
}  // namespace tandem
