#pragma once
// What pools are told and what they tell.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <tandem/deadline.hpp>
#include <tandem/this_worker.hpp>

namespace tandem {

struct task_options {
  std::string name = {};
  nanoseconds deadline{};                 // from the start of the task; 0: none
  unsigned retries = 0;                   // how often it runs again after its worker died
  int priority = 0;                       // a higher one is begun first
  std::optional<std::uint64_t> key = {};  // tasks of one key run in order, one after the other, on one worker
};

struct pool_stats {
  std::size_t submitted = 0, running = 0, pending = 0, done = 0, failed = 0, crashed = 0, retried = 0, timed_out = 0,
              cancelled = 0, overdue = 0, restarts = 0;
  std::vector<worker_info> workers = {};
};

struct shutdown_options {
  bool cancel_pending = false;
  nanoseconds within = nanoseconds::max();
};

struct shutdown_report {
  std::size_t done = 0, cancelled = 0, killed = 0;
  bool in_time = true;
};

}  // namespace tandem
