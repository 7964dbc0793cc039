#pragma once
// Which task this worker process runs, where it runs one after the other.
#include <optional>
#include <stop_token>

#include <tandem/deadline.hpp>

namespace tandem::worker {

struct current_task {
  unsigned attempt = 1;
  std::optional<clock::time_point> deadline = {};
  std::stop_token (*token)() = nullptr;  // Errors: resource_exhausted
};

/// What this_worker tells from now on; nullptr: there is none. It stays where it is.
void set_current_task(const current_task*) noexcept;

/// There is one more thread of the library in this process, which listens for a stop until the process ends.
void add_stop_thread() noexcept;

/// So many workers like this one use the CPUs that this process may use.
void share_cpus(unsigned workers) noexcept;
/// How many CPUs a pool in this process has by default: its share. Never 0.
unsigned own_cpus();

}  // namespace tandem::worker
