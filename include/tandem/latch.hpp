#pragma once
// A number that is counted down once, and waited for.
#include <cstddef>

#include <tandem/detail/sync_word.hpp>

namespace tandem {

namespace detail {
TANDEM_EXPORT std::uint32_t latch_of(std::ptrdiff_t count);
TANDEM_EXPORT void count_down(lock_word&, std::ptrdiff_t by);
TANDEM_EXPORT bool latch_open(const lock_word&) noexcept;
TANDEM_EXPORT void await_latch(lock_word&);
}  // namespace detail

/// A number that threads or processes count down, as std::latch; once it is 0, whoever waits goes on.
/// Threads: any, of any process of the session, at once. Fork: as mutex.
class latch {
 public:
  /// One with that number.
  /// Errors: std::invalid_argument below 0 and above max().
  explicit latch(std::ptrdiff_t count) : word_(detail::latch_of(count)) {}
  latch(const latch&) = delete;
  latch& operator=(const latch&) = delete;

  /// The largest number that one can begin with.
  static constexpr std::ptrdiff_t max() noexcept { return (std::ptrdiff_t{1} << 30) - 1; }
  /// Counts down by `by`.
  /// Errors: std::invalid_argument if it is below 0, or more than is left: nothing was counted. Cost: one atomic step; at
  /// 0 a system call if somebody waits.
  void count_down(std::ptrdiff_t by = 1) { detail::count_down(word_, by); }
  /// True once the number is 0.
  bool try_wait() const noexcept { return detail::latch_open(word_); }
  /// Returns once the number is 0.
  /// Blocks: until then. Errors: the first time in a thread, if it has to wait: resource_exhausted, not_initialised.
  void wait() {
    if (!try_wait()) detail::await_latch(word_);
  }
  /// Counts down by `by`, and waits.
  /// Blocks: until the number is 0. Errors: as count_down() and wait().
  void arrive_and_wait(std::ptrdiff_t by = 1) {
    count_down(by);
    wait();
  }

 private:
  detail::lock_word word_;
};

template <>
inline constexpr bool detail::is_of_session<latch> = true;

}  // namespace tandem
