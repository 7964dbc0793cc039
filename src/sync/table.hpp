#pragma once
// Tables in the session page: entries that are taken by one atomic step, each, and found by going through them.
#include <algorithm>

#include "sync/session.hpp"

namespace tandem::sync {

/// How far a look through the table has to go.
inline std::uint32_t used_of(const table_marks& marks, std::uint32_t count) noexcept {
  return std::min(marks.used.load(std::memory_order_seq_cst), count);
}

/// The first entry from the hint on that `take` accepts; 0: none. Entry 0 is nobody's. `count`: a power of two.
template <class Take>
std::uint32_t find_entry(table_marks& marks, std::uint32_t count, Take take) noexcept {
  const std::uint32_t start = marks.hint.load(std::memory_order_relaxed);
  for (std::uint32_t n = 0; n < count; ++n) {
    const std::uint32_t i = (start + n) & (count - 1);
    if (i == 0 || !take(i)) continue;
    marks.hint.store(i + 1, std::memory_order_relaxed);
    // Before anything names the entry: those who look for it go as far as this says.
    std::uint32_t used = marks.used.load(std::memory_order_relaxed);
    while (used < i + 1 && !marks.used.compare_exchange_weak(used, i + 1, std::memory_order_seq_cst)) {
    }
    return i;
  }
  return 0;
}

inline void freed_entry(table_marks& marks, std::uint32_t index) noexcept {
  if (marks.hint.load(std::memory_order_relaxed) > index) marks.hint.store(index, std::memory_order_relaxed);
}

}  // namespace tandem::sync
