#pragma once
// What the tests of channels share.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tandem::test {

using bytes = std::vector<std::byte>;

inline bytes pattern(std::size_t size, unsigned seed = 1) {
  bytes made(size);
  std::uint32_t state = seed * 2654435761U + 1;
  for (std::byte& b : made) b = static_cast<std::byte>((state = state * 1664525 + 1013904223) >> 24);
  return made;
}

inline std::span<const std::byte> view(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace tandem::test
