#include "pool/spin.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace tandem::pools {

std::uint32_t spin_nanoseconds() noexcept {
  static const std::uint32_t chosen = [] {
    constexpr std::uint32_t cost_of_a_wake = 50'000;
    if (os::allowed_cpus() == 1) return 0U;
    const char* const asked = os::variable("TANDEM_SPIN_US");
    if (asked == nullptr) return cost_of_a_wake;
    unsigned microseconds = 0;
    const char* const end = asked + std::strlen(asked);
    const auto [after, failed] = std::from_chars(asked, end, microseconds);
    if (failed != std::errc() || after != end) return cost_of_a_wake;
    return std::min(microseconds, 1000U) * 1000U;
  }();
  return chosen;
}

}  // namespace tandem::pools
