#pragma once
// Start-up: the fork server, from which worker processes are cloned.
#include <functional>

#include <tandem/detail/export.hpp>

namespace tandem {

struct init_options {
  std::function<void()> preload = {};  // runs once, before the first worker: its memory is shared with all of them
  bool pid_namespace = false;  // all workers in a PID namespace of their own: nothing that they start outlives the
                               // program, whatever it does; they cannot name, hence not signal, anybody outside
};

/// Starts the fork server: two small copies of this program, made while nothing else runs, from which every worker
/// process is cloned. Write it as the first line of main. In a worker it does nothing.
/// Blocks: until the server is ready; the time of `preload`. Threads: the only one. Fork: forks once; descriptors
/// above 2 are /dev/null in the copy. Errors: what `preload` throws; worker_crashed or worker_exited if `preload`
/// ended its process; not_initialised if other threads run already; std::logic_error if it ran before without this
/// `preload` or without `pid_namespace`; unsupported if this kernel or a seccomp filter lacks what tandem needs (the
/// text says which call), or gives this user no PID namespace; resource_exhausted. Cost: about three forks. Needs: Linux 5.4.
TANDEM_EXPORT void init(init_options options = {});

/// `function` runs in every worker process, before what it was started for; in a copy made with fork_options too. For
/// what clones share and should not, such as the state of a random number generator. Those registered first run first;
/// twice is once.
/// Blocks: never. Threads: any. Errors: std::invalid_argument for a null pointer; std::bad_alloc; what `function` throws
/// is what the worker throws. Cost: named in every start from then on.
TANDEM_EXPORT void on_worker_start(void (*function)());

/// How many CPUs this process may use: its affinity mask and the CPU quotas of its control groups, at least 1.
/// Blocks: never. Errors: std::bad_alloc; what cannot be read sets no limit. Cost: reads a few files of /proc and
/// /sys.
TANDEM_EXPORT unsigned available_cpus();

}  // namespace tandem
