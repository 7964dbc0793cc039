#pragma once
// Which task of a pool of threads the calling thread runs.
#include <optional>
#include <stop_token>

#include <tandem/deadline.hpp>

namespace tandem::worker {

struct task_context {
  unsigned attempt = 1;
  std::optional<clock::time_point> deadline = {};
  std::stop_token (*token)(void* task) = nullptr;
  void* task = nullptr;
};

/// A thread-local pointer; nullptr outside of tasks. The innermost one.
inline constinit thread_local const task_context* thread_task = nullptr;

}  // namespace tandem::worker
