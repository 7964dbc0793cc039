#pragma once
// What this process has of tandem's processes: its keeper or, in a worker, its door to the server; the connection to
// the server; the ledger of its workers.
#include <functional>
#include <memory>
#include <mutex>

#include <tandem/file_descriptor.hpp>
#include <tandem/init.hpp>

#include "worker/ledger.hpp"
#include "worker/protocol.hpp"
#include "worker/server_link.hpp"

namespace tandem::worker {

class runtime {
 public:
  /// The one of this process; made on first need, while that is safe. not_initialised, resource_exhausted.
  static runtime& get();
  static void initialise(init_options);
  /// In a copy of the process: its connections are the original's.
  [[gnu::hot]] static void forget_connections() noexcept;

  runtime(const runtime&) = delete;
  runtime& operator=(const runtime&) = delete;

  /// The connection to a server that lived a moment ago; makes a new one if need be. not_initialised,
  /// resource_exhausted.
  std::shared_ptr<server_link> link();
  ledger& slots() noexcept { return slots_; }
  bool has_namespace() const noexcept { return options_.pid_namespace; }
  /// Those who share locks with this child of a worker learn of its end from the server; the worker's own end ends what is
  /// below it.
  void watch_copy(int pidfd, std::uint32_t process) noexcept;
  /// For a copy that is about to be made: with it, it tells the keeper of itself. None in a worker of the server.
  /// Errors: resource_exhausted.
  file_descriptor keeper_connection();
  /// Errors: not_initialised if the program did not call init() itself, so that a fresh image of it would not either.
  void require_init_in_main() const;

 private:
  explicit runtime(init_options options) : options_(std::move(options)) {}
  static runtime& make(init_options options);

  void start_keeper();
  void await_preload();
  struct keeper_answer {
    keeper_message said;
    file_descriptor descriptor;
    bool gone = false;
    bool descriptor_lost = false;
  };
  keeper_answer hear_keeper(std::vector<std::byte>& rest);
  file_descriptor ask_keeper();
  file_descriptor open_door();
  [[noreturn]] void report_keeper_death();

  std::mutex mutex_;
  init_options options_;
  ledger slots_;
  file_descriptor control_;
  file_descriptor keeper_;  // its pidfd
  std::shared_ptr<server_link> link_;
};

}  // namespace tandem::worker
