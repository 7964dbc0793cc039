#pragma once
// The fork server: a copy of the program that stays single-threaded, and from which every worker is cloned. And its
// keeper.
#include <cstdint>

#include <tandem/file_descriptor.hpp>
#include <tandem/init.hpp>

namespace tandem::worker {

class ledger;

/// What keeper and server hold of the program.
struct host_ties {
  file_descriptor host_pidfd;
  file_descriptor keeper_pidfd;
  ledger* lines = nullptr;  // of the host
  bool pid_namespace = false;
  std::uint32_t domain = 0;  // the handle of the server in the session page
};

/// The life of the keeper: runs the preload, then makes a server whenever the host asks and none is there, until the host
/// is gone; then it ends all that descends from it.
[[noreturn]] void run_keeper(file_descriptor control, file_descriptor host_pidfd, ledger& host_ledger,
                             const init_options& options);

/// The life of a server. `host` is its end of the socket to the host.
[[noreturn]] void run_server(file_descriptor host, host_ties ties);

}  // namespace tandem::worker
