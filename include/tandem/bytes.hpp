#pragma once
// Sizes in bytes, as they are written in options: 2_GiB.
#include <cstddef>

namespace tandem {
inline namespace literals {

/// Sizes in bytes: n times 1024, 1024 squared, 1024 cubed. Past the range of std::size_t they wrap.
/// Errors: none.
constexpr std::size_t operator""_KiB(unsigned long long n) { return static_cast<std::size_t>(n) << 10; }
constexpr std::size_t operator""_MiB(unsigned long long n) { return static_cast<std::size_t>(n) << 20; }
constexpr std::size_t operator""_GiB(unsigned long long n) { return static_cast<std::size_t>(n) << 30; }

}  // namespace literals
}  // namespace tandem
