#pragma once
// Tasks that wait to be begun: what one worker keeps for itself, and what all share.
#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <unordered_map>
#include <vector>

#include <tandem/detail/thread_task.hpp>

#include "os/kernel.hpp"
#include "pool/waiting.hpp"

namespace tandem::pools {

/// Held for a few instructions, by threads that may be preempted meanwhile.
class short_lock {
 public:
  void lock() noexcept {
    std::uint32_t seen = 0;
    if (word_.compare_exchange_strong(seen, 1, std::memory_order_acquire, std::memory_order_relaxed)) return;
    for (int i = 0; i < 100; ++i) {
      pause();
      if (word_.load(std::memory_order_relaxed) != 0) continue;
      seen = 0;
      if (word_.compare_exchange_strong(seen, 1, std::memory_order_acquire, std::memory_order_relaxed)) return;
    }
    while (word_.exchange(2, std::memory_order_acquire) != 0) os::futex_wait(word_, 2);
  }
  void unlock() noexcept {
    // seq_cst: what was pushed under the lock is seen by who registers as a sleeper after our look at the sleepers.
    if (word_.exchange(0, std::memory_order_seq_cst) == 2) os::futex_wake(word_, 1);
  }

 private:
  std::atomic<std::uint32_t> word_{0};
};

/// A ring that grows, in the order of submission. Its size can be read without the lock.
class task_ring {
 public:
  explicit task_ring(std::size_t room) : slots_(room) {}

  std::size_t size(std::memory_order order = std::memory_order_relaxed) const noexcept { return size_.load(order); }
  void push(detail::thread_task* task) {
    if (tail_ - head_ == slots_.size()) grow();
    slots_[tail_++ & (slots_.size() - 1)] = task;
    update();
  }
  bool has_room() const noexcept { return tail_ - head_ < slots_.size(); }
  detail::thread_task* pop() noexcept {
    if (head_ == tail_) return nullptr;
    detail::thread_task* const task = slots_[head_++ & (slots_.size() - 1)];
    update();
    return task;
  }
  /// The last one, if it is this.
  bool pop_last(const detail::thread_task* task) noexcept {
    if (head_ == tail_ || slots_[(tail_ - 1) & (slots_.size() - 1)] != task) return false;
    --tail_;
    update();
    return true;
  }

 private:
  void update() noexcept { size_.store(tail_ - head_, std::memory_order_relaxed); }
  void grow() {
    std::vector<detail::thread_task*> larger(slots_.size() * 2);
    for (std::uint64_t i = head_; i != tail_; ++i) larger[i & (larger.size() - 1)] = slots_[i & (slots_.size() - 1)];
    slots_.swap(larger);
  }

  std::vector<detail::thread_task*> slots_;  // a power of two
  std::uint64_t head_ = 0;
  std::uint64_t tail_ = 0;
  std::atomic<std::size_t> size_{0};
};

/// What task_options asked for that is not for everybody. Under the lock of the pool.
class special_tasks {
 public:
  /// Tasks with a priority that is not 0.
  void push(detail::thread_task* task, int priority) { by_priority_[priority].push_back(task); }
  /// The most urgent one; `urgent`: only if it comes before the ordinary ones.
  detail::thread_task* pop(bool urgent) noexcept {
    if (by_priority_.empty()) return nullptr;
    const auto at = std::prev(by_priority_.end());
    if (urgent && at->first < 0) return nullptr;
    detail::thread_task* const task = at->second.front();
    at->second.pop_front();
    if (at->second.empty()) by_priority_.erase(at);
    return task;
  }
  bool has_urgent() const noexcept { return !by_priority_.empty() && by_priority_.rbegin()->first > 0; }
  bool empty() const noexcept { return by_priority_.empty(); }

  /// Of those with a priority: how many went.
  template <class Drops>
  unsigned remove_if(Drops drops) noexcept {
    std::size_t gone = 0;
    for (auto at = by_priority_.begin(); at != by_priority_.end();) {
      gone += std::erase_if(at->second, drops);
      at = at->second.empty() ? by_priority_.erase(at) : std::next(at);
    }
    return static_cast<unsigned>(gone);
  }
  /// Of those that wait for another one of their key: how many went.
  template <class Drops>
  std::size_t drop_waiting_if(Drops drops) noexcept {
    std::size_t gone = 0;
    for (auto& each : keys_) gone += std::erase_if(each.second, drops);
    return gone;
  }

  /// True if no other one of its key is begun or ready; else it waits for them.
  bool enter(detail::thread_task* task, std::uint64_t key) {
    const auto [at, fresh] = keys_.try_emplace(key);
    if (!fresh) at->second.push_back(task);
    return fresh;
  }
  /// The next one of that key, once the one before has ended; nullptr: there is none.
  detail::thread_task* leave(std::uint64_t key) noexcept {
    const auto at = keys_.find(key);
    if (at == keys_.end()) return nullptr;  // it runs where it was submitted, and never entered
    if (at->second.empty()) {
      keys_.erase(at);
      return nullptr;
    }
    detail::thread_task* const next = at->second.front();
    at->second.pop_front();
    return next;
  }

 private:
  std::map<int, std::deque<detail::thread_task*>> by_priority_;
  std::unordered_map<std::uint64_t, std::deque<detail::thread_task*>> keys_;
};

}  // namespace tandem::pools
