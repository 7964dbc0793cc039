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

#include "os/kernel.hpp"
#include "worker/ledger.hpp"
#include "worker/server_link.hpp"

namespace tandem::worker {
class runtime;
}

namespace tandem::detail {

class process_core final : public unit {
 public:
  process_core(process_start options, message call);
  process_core(process_start options, copied_call call);
  ~process_core() override;

  void join();
  bool join_until(clock::time_point deadline);
  message take();
  bool ended(clock::time_point deadline) const;
  bool joined() const noexcept { return joined_.load(std::memory_order_acquire); }
  exit_status status();  // once ended
  std::optional<crash_report> report();
  void signal(int number);
  void kill();
  /// Goes down the ladder until all have ended. Never throws.
  static void finish(std::span<process_core* const> all) noexcept;
  bool of_this_process() const noexcept;

  std::stop_source& stops() noexcept { return stops_; }
  tandem::stop_source get_stop_source();  // one for as long as this lives: other processes may have copies of it
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

  void prepare();
  void start(const message& call);
  bool try_start(std::span<const std::byte> body, int memfd, std::span<const file_descriptor> handles);
  bool send_handles(std::span<const file_descriptor>& handles);
  void forget_handles() noexcept;
  void copy(const copied_call& call);
  void tell_keeper() noexcept;
  [[noreturn]] void be_the_copy(const copied_call& call, file_descriptor door) noexcept;
  void reap_copy();
  bool step_down(clock::time_point asked) noexcept;
  void collect();  // once it has ended: all that is known, taken out of the slot
  void collect_result(worker::phase reached);
  void fetch_result(worker::server_link::answer first);
  void receive_result();
  std::optional<os::ended_child> known_end();
  void read_result(const file_descriptor& memfd);
  void collect_death();
  void collect_log();
  bool wait_ended(clock::time_point deadline) noexcept;
  void send(int number);

  static std::atomic<unsigned> numbers;

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
  bool lost_ = false;          // its server died while it was being started
  bool copied_ = false;        // a child of this process, and not of a server
  std::uint32_t process_ = 0;  // of a copy: its handle in the session page
  file_descriptor door_;       // of a copy: what it hands over
  file_descriptor parent_;     // while a copy is made: the pidfd of this process
  file_descriptor keeper_;     // while a copy is made, and it is to tell the keeper of itself
  std::mutex reaping_;
  std::optional<os::ended_child> reaped_;  // of a copy
  exit_status status_;
  message result_;
  std::exception_ptr failure_;  // why the result could not be had
  std::optional<crash_report> report_;
  std::optional<tandem::stop_source> source_;
  std::string errors_;  // the end of its standard error

  int rung_ = 0;                          // of the ladder: asked, terminated, killed
  std::vector<os::known_process> below_;  // when it was terminated
  clock::time_point next_step_{};
};

}  // namespace tandem::detail
