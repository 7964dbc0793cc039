#pragma once
// A number of permits.
#include <cstddef>
#include <limits>

#include <tandem/detail/sync_word.hpp>

namespace tandem {

namespace detail {

/// A semaphore of any greatest value.
struct semaphore_state {
  std::atomic<std::uint64_t> permits;
  std::atomic<std::uint64_t> number{0};
};
constexpr std::ptrdiff_t most_permits = (std::ptrdiff_t{1} << 30) - 1;

/// What a guard knows of its permit.
struct held_permit {
  std::uint32_t claim = 0;
  std::uint32_t state = 0;
};

TANDEM_EXPORT std::uint64_t checked_permits(std::ptrdiff_t count, std::ptrdiff_t most);
TANDEM_EXPORT bool acquire_permit(semaphore_state&, clock::time_point deadline);
TANDEM_EXPORT bool try_acquire_permit(semaphore_state&);
TANDEM_EXPORT void release_permits(semaphore_state&, std::ptrdiff_t count, std::ptrdiff_t most);
TANDEM_EXPORT held_permit acquire_for_guard(semaphore_state&);
TANDEM_EXPORT void release_of_guard(semaphore_state&, held_permit) noexcept;

}  // namespace detail

/// A number of permits that threads or processes take and give back, as std::counting_semaphore. Whoever takes one with
/// acquire() and dies takes it along; one that a guard holds comes back.
/// Threads: any, of any process of the session, at once. Fork: as mutex.
template <std::ptrdiff_t N = PTRDIFF_MAX>
class counting_semaphore {
  static_assert(N >= 0, "tandem: a semaphore has no fewer than 0 permits");

 public:
  /// The most permits that one can have: N, or 2^30 - 1.
  static constexpr std::ptrdiff_t max() noexcept { return N < detail::most_permits ? N : detail::most_permits; }

  /// One with so many permits.
  /// Errors: std::invalid_argument below 0 and above max().
  explicit counting_semaphore(std::ptrdiff_t permits) : state_{detail::checked_permits(permits, max())} {}
  counting_semaphore(const counting_semaphore&) = delete;
  counting_semaphore& operator=(const counting_semaphore&) = delete;

  /// Takes a permit.
  /// Blocks: until there is one. Errors: the first time in a thread: resource_exhausted, not_initialised. Cost: with a
  /// permit there, one atomic step.
  void acquire() { detail::acquire_permit(state_, clock::time_point::max()); }
  /// True if there was a permit, and it was taken.
  /// Errors: as acquire().
  bool try_acquire() { return detail::try_acquire_permit(state_); }
  /// True if a permit was taken; false if there was none within `timeout`, or until `deadline`.
  /// Blocks: until then. Errors: as acquire().
  bool try_acquire_for(nanoseconds timeout) {
    return try_acquire() || detail::acquire_permit(state_, deadline_after(timeout));
  }
  bool try_acquire_until(clock::time_point deadline) { return detail::acquire_permit(state_, deadline); }
  /// Gives `count` permits.
  /// Errors: std::invalid_argument if count is below 0, or there would be more than max(): nothing was given. Cost: one
  /// atomic step; a system call if somebody waits.
  void release(std::ptrdiff_t count = 1) { detail::release_permits(state_, count, max()); }

  /// Holds one permit as long as it lives, and no longer than its thread: a holder that dies gives it back.
  class guard {
   public:
    /// Takes a permit.
    /// Blocks: until there is one. Errors: as acquire(); resource_exhausted if too many are held by guards at once.
    explicit guard(counting_semaphore& semaphore)
        : state_(semaphore.state_), held_(detail::acquire_for_guard(semaphore.state_)) {}
    guard(const guard&) = delete;
    guard& operator=(const guard&) = delete;
    ~guard() { detail::release_of_guard(state_, held_); }

   private:
    detail::semaphore_state& state_;
    detail::held_permit held_;
  };

 private:
  detail::semaphore_state state_;
};

using binary_semaphore = counting_semaphore<1>;

template <std::ptrdiff_t N>
inline constexpr bool detail::is_of_session<counting_semaphore<N>> = true;

}  // namespace tandem
