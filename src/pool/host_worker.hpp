#pragma once
// One worker process of a pool, seen from the program: its region, which task is in which slot, its segments, its socket.
#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <tandem/detail/pool_task.hpp>
#include <tandem/detail/process_handle.hpp>
#include <tandem/detail/unit.hpp>

#include "pool/region.hpp"
#include "pool/segments.hpp"
#include "pool/worker_shape.hpp"
#include "worker/service.hpp"

namespace tandem::pools {

using detail::process_task;
using detail::task_pointer;

/// The mapping of a region; a waiter that sleeps there holds it.
class region_map {
 public:
  region_map();  // resource_exhausted
  ~region_map();
  region_map(const region_map&) = delete;
  region_map& operator=(const region_map&) = delete;
  region& operator*() const noexcept { return *region_; }
  region* operator->() const noexcept { return region_; }
  const file_descriptor& file() const noexcept { return file_; }
  /// As fresh, but for the words of the slots: they say for which turn they were filled last.
  void renew() noexcept;
  std::uint64_t next_ticket = 0;

 private:
  file_descriptor file_;
  region* region_ = nullptr;
};

/// Why the program ends a worker, and how far it is with that.
struct ladder {
  enum class reason { none, deadline, hard_cancel, out_of_time };
  reason why = reason::none;
  int rung = 0;
  std::uint32_t index = slot_count;  // of the task that does not end
  clock::time_point next = clock::time_point::max();
};

/// Members that are no const are called under the pool's lock, unless they say otherwise.
class host_worker final : public detail::unit {
 public:
  /// Starts the process. Not under the lock. Errors: as process's constructor.
  host_worker(const worker_shape& shape, const std::string& name, std::shared_ptr<region_map> map);
  ~host_worker() override;

  // ---- tasks ------------------------------------------------------------------------------------------------------
  bool has_room() const noexcept { return !occupied_[tail_ % slot_count]; }
  std::size_t load() const noexcept { return load_; }
  bool is_empty() const noexcept { return load_ == 0; }
  enum class placed { yes, no_room, refused };
  /// False while it is being ended, or what it runs may be.
  bool accepts() const noexcept { return !leaving && !is_unreachable && down.why == ladder::reason::none; }
  /// Puts it at the end. `refused`: what has to be sent with it cannot be sent now, for send_error(); nothing was done.
  /// Errors: resource_exhausted; then nothing was done either.
  placed put(const task_pointer& task);
  int send_error() const noexcept { return send_error_; }
  /// True if it is asleep, and the caller has to wake it: outside of the lock.
  bool has_to_be_woken() noexcept { return shared().bell.load(std::memory_order_seq_cst) == 1; }
  /// Not under the lock.
  static void wake(region& r) noexcept;
  const task_pointer& at(std::uint32_t index) const noexcept { return tasks_[index]; }
  std::uint32_t word_at(std::uint32_t index) const noexcept {
    return shared().slots[index].state.load(std::memory_order_seq_cst);
  }
  /// Takes back one that was not begun; false if it was.
  bool take_back(std::uint32_t index) noexcept;
  /// All that were not begun, the first one first, but those that `keeps(task)`.
  template <class Keeps>
  std::vector<task_pointer> take_back_all(Keeps keeps, std::size_t most = slot_count);
  /// The task of that slot has ended: its outcome is put into it, and the slot is free.
  task_pointer collect(std::uint32_t index);
  /// Forgets the task of that slot, whose outcome is known otherwise, and wakes whoever sleeps there. The slot is free
  /// once the worker is through with it.
  task_pointer leave(std::uint32_t index) noexcept;
  /// The slots of tasks that have ended, in order, up to the first that has not.
  template <class Each>
  void sweep(Each each);
  /// Calls each(index) for all slots in use, in order of their tickets.
  template <class Each>
  void each_slot(Each each) const {
    for (std::uint64_t ticket = first_ticket(); ticket < tail_; ++ticket) {
      const auto index = static_cast<std::uint32_t>(ticket % slot_count);
      if (occupied_[index] && tickets_[index] == ticket) each(index);
    }
  }
  /// The slot that is claimed and its task, which is empty if nobody waits for it any more; slot_count if there is none.
  std::uint32_t claimed_index() const noexcept;
  std::int64_t started_ns(std::uint32_t index) const noexcept {
    return shared().slots[index].started_ns.load(std::memory_order_acquire);
  }
  void request_stop(std::uint32_t index) noexcept;
  void watch(std::uint32_t index) noexcept { shared().slots[index].state.fetch_or(watched_bit); }
  std::size_t unclaimed() const noexcept;
  bool is_ready() const noexcept {
    return shared().reached.load(std::memory_order_acquire) == static_cast<std::uint32_t>(phase::ready);
  }
  bool is_initialising() const noexcept {
    return shared().reached.load(std::memory_order_acquire) == static_cast<std::uint32_t>(phase::initialising);
  }

  // ---- what it sends ----------------------------------------------------------------------------------------------
  /// Reads all that is on the socket. False if the worker has closed it.
  bool drain() noexcept;

  region_map& map() const noexcept { return *map_; }
  const std::shared_ptr<region_map>& shared_map() const noexcept { return map_; }
  detail::process_handle& process() noexcept { return process_; }
  const detail::process_handle& process() const noexcept { return process_; }
  int socket() const noexcept { return socket_.get(); }
  const std::string& name() const noexcept { return process_.name(); }
  clock::time_point since() const noexcept { return since_; }

  worker_info describe() const override;  // takes the pool's lock
  bool active() const noexcept override;
  void list() noexcept { enlist(); }  // not under the lock
  void unlist() noexcept { strike(); }

  // Of the pool.
  ladder down;
  std::size_t seat = 0;     // the one that it has, or had last
  bool leaving = false;     // gets no more tasks
  int lowest_priority = 0;  // of what was put since it was empty
  std::size_t finished = 0;
  clock::time_point idle_since{};
  clock::time_point retire_at = clock::time_point::max();
  bool deaf = false;            // its socket is closed, and all that it sent was read
  bool is_unreachable = false;  // its end of the socket is closed: its end will be heard
  bool is_lost = false;         // memory that it has sent could not be had: it will use it again
  std::weak_ptr<process_pool_core> pool;
  std::shared_ptr<worker::listener> end_listener, ring_listener;

 private:
  region& shared() const noexcept { return **map_; }
  struct in_segment {
    segment memory;
    bool used = false;
  };
  struct received_handles {
    std::uint64_t ticket = 0;
    std::vector<file_descriptor> handles;
  };
  /// Of those whose slots may be in use.
  std::uint64_t first_ticket() const noexcept { return std::max(head_, tail_ > slot_count ? tail_ - slot_count : 0); }
  bool send(const parcel& p, std::span<const int> descriptors = {}) noexcept;
  bool send_handles(const process_task& task, std::uint64_t ticket);
  static void want_to_fill(slot& s, std::size_t bytes) noexcept;
  std::uint32_t put_far(std::span<const std::byte> bytes);
  task_pointer free_slot(std::uint32_t index) noexcept;
  bool read_parcel();
  std::vector<file_descriptor> handles_of(std::uint64_t ticket, std::uint32_t count);
  detail::lent_bytes lend(std::uint32_t number, std::size_t bytes);
  void forget_unused() noexcept;
  void fill_outcome(process_task& task, const slot& s);
  void forget_outcome(std::uint32_t index) noexcept;

  std::shared_ptr<region_map> map_;
  file_descriptor socket_;
  clock::time_point since_;
  std::array<task_pointer, slot_count> tasks_;
  std::array<bool, slot_count> occupied_{};
  std::array<std::uint64_t, slot_count> tickets_{};
  std::array<std::uint32_t, slot_count> segment_of_{};
  std::uint64_t head_;
  std::uint64_t tail_;
  std::size_t load_ = 0;
  std::map<std::uint32_t, in_segment> in_;
  std::uint32_t next_in_ = 0;
  std::map<std::uint32_t, std::shared_ptr<segment>> out_;
  std::deque<received_handles> received_;
  int receive_error_ = 0;  // of the last try
  int send_error_ = 0;
  std::uint32_t handle_lots_ = 0;  // of the tasks with handles
  detail::process_handle process_;
};

template <class Keeps>
std::vector<task_pointer> host_worker::take_back_all(Keeps keeps, std::size_t most) {
  std::vector<task_pointer> taken;
  // From the end, so that what is first is begun meanwhile rather than what is last.
  for (std::uint64_t ticket = tail_; ticket > first_ticket() && taken.size() < most; --ticket) {
    const auto index = static_cast<std::uint32_t>((ticket - 1) % slot_count);
    if (!tasks_[index] || tickets_[index] != ticket - 1 || keeps(*tasks_[index])) continue;
    task_pointer task = tasks_[index];
    if (take_back(index)) taken.insert(taken.begin(), std::move(task));
  }
  return taken;
}

template <class Each>
void host_worker::sweep(Each each) {
  for (head_ = first_ticket(); head_ < tail_; ++head_) {
    const auto index = static_cast<std::uint32_t>(head_ % slot_count);
    if (!occupied_[index] || tickets_[index] != head_) continue;
    if (!has_ended(word_at(index))) return;
    each(index);
  }
}

}  // namespace tandem::pools
