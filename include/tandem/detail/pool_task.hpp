#pragma once
// One task of a process pool, from submit to its outcome.
#include <array>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tandem/deadline.hpp>
#include <tandem/detail/export.hpp>
#include <tandem/detail/future_state.hpp>
#include <tandem/detail/pool_options.hpp>
#include <tandem/detail/transfer_wire.hpp>
#include <tandem/file_descriptor.hpp>

namespace tandem::pools {
class host_worker;
class process_pool_core;
}  // namespace tandem::pools

namespace tandem::detail {

/// A result that lies in memory of the worker's; whoever drops it lets the worker use that memory again.
using lent_bytes = std::shared_ptr<const std::span<const std::byte>>;

/// Its members belong to the pool, and are touched under its lock unless they say otherwise.
class TANDEM_EXPORT process_task final : public future_state {
 public:
  process_task(task_options request, message call) noexcept;

  // ---- the hooks: any thread --------------------------------------------------------------------------------------
  bool look() noexcept override;
  bool look_a_while(clock::time_point deadline) override;
  void sleep(clock::time_point deadline) override;
  void arrange_telling() override;
  bool stop(how) override;
  lent_message lend_message(bool reads_once) override;

  /// How it ends; once. What it brings is stored first.
  enum class fate { none, value, thrown, error, cancelled, late };
  /// Ends the state as `fate` says. Outside of the lock.
  void finish() noexcept;

  message call;
  task_options request;
  std::shared_ptr<pools::process_pool_core> pool = {};
  std::uint64_t number = 0;
  pools::host_worker* worker = nullptr;  // nullptr: it waits, or has ended
  std::uint32_t index = 0;               // of its slot there
  /// The word of that slot, for a look without the lock; the memory stays for as long as the pool.
  std::atomic<std::atomic<std::uint32_t>*> place{nullptr};
  /// Beside it, where that worker was last seen.
  std::atomic<std::atomic<std::uint32_t>*> cpu{nullptr};
  void leave_place() noexcept {
    worker = nullptr;
    place.store(nullptr, std::memory_order_release);
    cpu.store(nullptr, std::memory_order_release);
  }
  unsigned attempt = 1;
  unsigned killed = 0;   // so many workers
  bool watched = false;  // the service thread is to learn of its end
  bool is_stopped = false;
  bool is_cancelled_hard = false;
  fate ending = fate::none;
  std::exception_ptr error = {};
  state_ptr<process_task> next_finished = {};

  static constexpr std::size_t near_bytes = 256;
  void set_near(std::span<const std::byte> bytes) noexcept;
  void set_far(lent_bytes bytes) noexcept { far_ = std::move(bytes); }
  void set_handles(std::vector<file_descriptor> handles) noexcept { handles_ = std::move(handles); }
  void drop_result() noexcept;
  bool has_sleepers() const noexcept { return (word() & sleeping) != 0; }
  bool announce() noexcept { return announce_sleep(); }

 private:
  void require_own_pool() const;
  std::span<const std::byte> result() const noexcept;

  lent_bytes far_ = {};
  std::vector<file_descriptor> handles_ = {};
  std::size_t size_ = 0;
  std::array<std::byte, near_bytes> near_;
};

using task_pointer = state_ptr<process_task>;

}  // namespace tandem::detail
