#pragma once
// A place where parties wait for each other.
#include <cstddef>

#include <tandem/detail/sync_word.hpp>

namespace tandem {

namespace detail {

struct barrier_state {
  std::atomic<std::uint64_t> word;
  std::atomic<std::uint64_t> number{0};
  std::atomic<std::uint32_t> seen_deaths{0};
};
TANDEM_EXPORT std::uint64_t barrier_of(std::ptrdiff_t parties);
TANDEM_EXPORT void arrive_and_wait(barrier_state&);
TANDEM_EXPORT void arrive_and_drop(barrier_state&);
TANDEM_EXPORT void reset_barrier(barrier_state&);
TANDEM_EXPORT void end_barrier(barrier_state&) noexcept;

}  // namespace detail

/// Where so many parties, which are threads of any process, wait until all have come, again and again. A party is
/// whoever has come at least once. If one is killed, the barrier is broken for the others until reset(); one that ends in
/// order, or drops out, breaks nothing.
/// Threads: any, of any process of the session, at once. Fork: as mutex.
class barrier {
 public:
  /// One for so many parties.
  /// Errors: std::invalid_argument below 1 and above 65 535.
  explicit barrier(std::ptrdiff_t parties) : state_{detail::barrier_of(parties)} {}
  barrier(const barrier&) = delete;
  barrier& operator=(const barrier&) = delete;
  /// Nobody is a party of it any more. In shared memory it is not destroyed: whoever lets go of the memory is none.
  ~barrier() {
    if (state_.number.load(std::memory_order_relaxed) != 0) detail::end_barrier(state_);
  }

  /// Returns once all parties have come; then it is ready for the next time.
  /// Blocks: until then. Errors: broken_barrier if a party was killed, or reset() was called meanwhile; the first time in
  /// a thread: resource_exhausted, not_initialised. Cost: one atomic step and a wake-up of each that sleeps.
  void arrive_and_wait() { detail::arrive_and_wait(state_); }
  /// Counts as come, and is no party from the next time on: one fewer is waited for.
  /// Errors: as arrive_and_wait().
  void arrive_and_drop() { detail::arrive_and_drop(state_); }
  /// Makes it good again, for as many parties as before. Who waits gets broken_barrier.
  /// Errors: resource_exhausted, not_initialised.
  void reset() { detail::reset_barrier(state_); }
  /// True from the death of a party, as far as somebody has seen it, until reset().
  bool broken() const noexcept { return (state_.word.load(std::memory_order_acquire) & 1) != 0; }

 private:
  detail::barrier_state state_;
};

template <>
inline constexpr bool detail::is_of_session<barrier> = true;

}  // namespace tandem
