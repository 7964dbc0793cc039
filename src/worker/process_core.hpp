#pragma once
// One worker process, seen from the program that started it.
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include <tandem/detail/process_handle.hpp>
#include <tandem/detail/unit.hpp>
#include <tandem/file_descriptor.hpp>

#include "worker/ledger.hpp"
#include "worker/server_link.hpp"

namespace tandem::worker {
class runtime;
}

namespace tandem::detail {

class process_core final : public unit {
 public:
  process_core(process_start options, std::vector<std::byte> call);
  ~process_core() override;

  void join();
  bool join_until(clock::time_point deadline);
  std::vector<std::byte> take();
  bool ended(clock::time_point deadline) const;
  bool joined() const noexcept { return joined_.load(std::memory_order_acquire); }
  exit_status status();  // once ended
  std::optional<crash_report> report();
  void signal(int number);
  void kill();
  /// Goes down the ladder until it has ended. Never throws.
  void finish() noexcept;
  bool of_this_process() const noexcept;

  std::stop_source& stops() noexcept { return stops_; }
  const std::string& name() const noexcept { return name_; }
  pid_t id() const noexcept { return pid_; }
  int pidfd() const noexcept { return pidfd_.get(); }

  worker_info describe() const override;
  bool active() const noexcept override;

 private:
  struct told_worker {
    worker::slot_page* page;
    void operator()() const noexcept;
  };

  void start(std::vector<std::byte> call);
  bool try_start(std::span<const std::byte> call, int memfd);
  void collect();  // once it has ended: all that is known, taken out of the slot
  void collect_result(worker::phase reached);
  void collect_death();
  void collect_log();
  bool wait_ended(clock::time_point deadline) noexcept;
  void send(int number);

  worker::runtime* runtime_;
  process_start options_;
  std::string name_;
  std::shared_ptr<worker::server_link> link_;
  std::uint32_t slot_ = 0;
  worker::slot_page* page_ = nullptr;
  pid_t pid_ = 0;
  file_descriptor pidfd_;
  clock::time_point since_{};
  unsigned epoch_;
  std::stop_source stops_;
  std::optional<std::stop_callback<told_worker>> telling_;
  std::atomic<std::uint64_t> sent_{0};  // which signals we sent
  std::atomic<bool> joined_{false};

  std::mutex mutex_;  // of what follows
  bool collected_ = false;
  bool taken_ = false;
  bool lost_ = false;  // its server died while it was being started
  exit_status status_;
  std::vector<std::byte> result_;
  std::exception_ptr failure_;  // why the result could not be had
  std::optional<crash_report> report_;
};

}  // namespace tandem::detail
