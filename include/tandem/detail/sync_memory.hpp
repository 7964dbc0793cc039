#pragma once
// What shared memory tells the locks that lie in it: whose hands it is in.
#include <cstddef>
#include <cstdint>

#include <tandem/detail/export.hpp>

namespace tandem::detail {

/// Of the session of this program. Memory carries it, and is refused in another, where nobody would learn of a death.
TANDEM_EXPORT std::uint64_t session_number();

enum class memory_origin {
  made,    // by this process
  handed,  // to this process: it owes what a latch there waits for, until it has counted down or waited
};
/// A number for new memory, its own in the session.
TANDEM_EXPORT std::uint64_t new_memory_number();
/// From now on this process has the memory with that number there.
TANDEM_EXPORT void attach_memory(std::uint64_t number, const void* address, std::size_t bytes, memory_origin);
TANDEM_EXPORT void detach_memory(const void* address) noexcept;

}  // namespace tandem::detail
