#pragma once
// Counts what operator new gives out, in this whole test program.
#include <cstddef>

namespace allocations {

std::size_t now() noexcept;   // bytes given out
std::size_t peak() noexcept;  // the most since restart_peak
void restart_peak() noexcept;
std::size_t count() noexcept;  // calls since restart_count
void restart_count() noexcept;

}  // namespace allocations
