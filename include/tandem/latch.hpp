#pragma once
// A number that is counted down once, and waited for.
#include <cstddef>

#include <tandem/detail/sync_word.hpp>

namespace tandem {

namespace detail {
struct latch_state {
  lock_word word;
  lock_word seen_deaths{0};
  std::atomic<std::uint64_t> number{0};
};
constexpr std::uint32_t latch_count = (1U << 30) - 1;
TANDEM_EXPORT std::uint32_t latch_of(std::ptrdiff_t count);
TANDEM_EXPORT void count_down(latch_state&, std::ptrdiff_t by);
TANDEM_EXPORT void await_latch(latch_state&);
}  // namespace detail

/// A number that threads or processes count down, as std::latch; once it is 0, whoever waits goes on. In shared memory, a
/// process that has received the memory owes a count until it has counted down or waited; if it is killed before that, the
/// latch is broken for those who wait. (One that is killed before it has its arguments owes none yet: its starter is told.)
/// A copy of the program (fork_options) owes a count to each latch in the shared memory that its original had.
/// Threads: any, of any process of the session, at once. Fork: as mutex.
class latch {
 public:
  /// One with that number.
  /// Errors: std::invalid_argument below 0 and above max().
  explicit latch(std::ptrdiff_t count) : state_{detail::latch_of(count)} {}
  latch(const latch&) = delete;
  latch& operator=(const latch&) = delete;

  /// The largest number that one can begin with.
  static constexpr std::ptrdiff_t max() noexcept { return detail::latch_count; }
  /// Counts down by `by`.
  /// Errors: std::invalid_argument if it is below 0, or more than is left: nothing was counted. Cost: one atomic step; at
  /// 0 a system call if somebody waits.
  void count_down(std::ptrdiff_t by = 1) { detail::count_down(state_, by); }
  /// True once the number is 0.
  bool try_wait() const noexcept { return (state_.word.load(std::memory_order_acquire) & detail::latch_count) == 0; }
  /// Returns once the number is 0.
  /// Blocks: until then. Errors: broken_barrier if a process was killed that owed a count; the first time in a thread, if
  /// it has to wait: resource_exhausted, not_initialised.
  void wait() {
    if (!try_wait()) detail::await_latch(state_);
  }
  /// Counts down by `by`, and waits.
  /// Blocks: until the number is 0. Errors: as count_down() and wait().
  void arrive_and_wait(std::ptrdiff_t by = 1) {
    count_down(by);
    wait();
  }

 private:
  detail::latch_state state_;
};

template <>
inline constexpr bool detail::is_of_session<latch> = true;

}  // namespace tandem
