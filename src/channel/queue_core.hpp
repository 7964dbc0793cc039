#pragma once
// A queue as one process has it.
#include <pthread.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include <tandem/detail/channel_queue.hpp>
#include <tandem/detail/memory_segment.hpp>

#include "channel/arena.hpp"
#include "channel/queue_layout.hpp"

namespace tandem::detail {

class queue_core {
 public:
  using env = sync::environment;

  /// A new one. Errors: resource_exhausted, std::invalid_argument.
  explicit queue_core(const queue_form&);
  /// What came from another process. Errors: decode_error, resource_exhausted.
  queue_core(const queue_form&, segment_parcel);
  queue_core(const queue_core&) = delete;
  queue_core& operator=(const queue_core&) = delete;
  ~queue_core() = default;

  bool push(const outgoing&, clock::time_point deadline, const std::stop_token*);
  arrival pop(sink&, clock::time_point deadline, const std::stop_token*);
  arrival pop_flat(void* into, clock::time_point deadline, const std::stop_token*);

  queue_place begin_push(clock::time_point deadline);
  void finish_push(std::uint64_t position);
  void abandon_push(std::uint64_t position) noexcept;
  queue_place begin_pop(arrival&, clock::time_point deadline);
  void finish_pop(std::uint64_t position) noexcept;

  void close();
  bool is_closed() const noexcept { return ring_.is_closing(); }
  std::size_t size() const noexcept;
  const queue_form& form() const noexcept { return form_; }
  queue_stats stats();
  void task_done();
  void join();

  bool ready();
  void watch(int event);
  void unwatch(int event) noexcept;
  segment_parcel parcel() const { return memory_.parcel(); }

 private:
  // A thread that sleeps as one who pops does, and then signals an eventfd. There is one only while somebody waits in
  // wait_any, since a futex cannot be waited for beside descriptors.
  struct watcher {
    queue_core& core;
    int event;
    pthread_t thread{};
    std::atomic<bool> stopped{false};
    watcher(queue_core& c, int e) noexcept : core(c), event(e) {}
    static void* run(void* self);
  };
  struct claimed {
    channel::claim_end end = channel::claim_end::none;
    std::uint64_t position = 0;
    bool slept = false;
  };

  // How those who wait for one kind of happening spin, in this process. In a line of its own: what those who push learn is
  // not looked at by those who pop.
  struct alignas(64) spin_record {
    void saw(std::uint32_t cpu) noexcept {
      if (peer_cpu.load(std::memory_order_relaxed) != cpu) peer_cpu.store(cpu, std::memory_order_relaxed);
    }
    std::atomic<std::uint32_t> peer_cpu{0};  // where the other side was last seen; 0: not known
    std::atomic<std::uint32_t> halvings{0};  // of the bound
    std::atomic<std::uint32_t> short_ones{0};
  };

  static segment_shape shape_of(const channel::queue_layout&) noexcept;
  channel::ring_words<env>& words() const noexcept;
  std::byte* at(std::size_t offset) const noexcept { return static_cast<std::byte*>(memory_.address()) + offset; }
  std::byte* payload(std::uint64_t position) const noexcept;

  template <class Attempt>
  static bool spin_for(spin_record&, Attempt& attempt, clock::time_point deadline);
  template <class Attempt>
  bool wait_for(std::atomic<std::uint64_t>& happening, spin_record&, Attempt& attempt, clock::time_point deadline,
                const std::stop_token*, claimed&);
  void want_next_slot() const noexcept;
  claimed claim_push(std::size_t size, clock::time_point deadline, const std::stop_token*);
  claimed claim_pop(clock::time_point deadline, const std::stop_token*);
  channel::claim_end try_pop_claim(std::uint32_t self, std::uint64_t& position);
  bool pushers_were_killed();
  void committed(const claimed&);
  void released(const claimed&);
  void write_placed(std::uint64_t position, const outgoing&);
  void read_placed(const claimed&, sink&);
  void read_arena(const claimed&, sink&, std::uint64_t start, std::uint64_t size);
  void be_pusher(std::uint32_t self);
  channel::hand<env>& own_hand(std::uint32_t self);
  std::uint64_t take_hand(std::uint32_t self);
  bool take_from_a_hand(channel::hand<env>&) noexcept;
  std::uint64_t unfinished();
  void bury_all();

  queue_form form_;
  channel::queue_layout layout_;
  segment memory_;
  channel::ring<env> ring_;
  channel::arena<env> arena_;
  std::uint64_t number_;                       // of the queue, to the session
  std::atomic<std::uint32_t> pusher_{0};       // this process is one, with that id
  std::atomic<std::uint32_t> deaths_seen_{0};  // with which it was looked at the pushers last
  std::atomic<std::uint64_t> own_hand_{0};     // the id of this process, and which hand it has
  spin_record for_items_;
  spin_record for_room_;
  std::mutex watching_;
  std::vector<std::unique_ptr<watcher>> watchers_;
};

}  // namespace tandem::detail
