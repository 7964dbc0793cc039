#pragma once
// Which processes were handed which memory, and which of them have paid what they owe a latch there.
#include <cstdint>

namespace tandem::sync {

/// The number of the memory that this lies in; 0: it lies in none that was attached.
std::uint64_t memory_number_at(const void*) noexcept;
/// This process owes the latch that lies there nothing any more. Errors: resource_exhausted.
void pay(const void* where, std::uint64_t latch);
/// A claim of this process on an object that lies there goes with that memory; nothing if it lies in none that was
/// attached. Errors: std::bad_alloc.
void keep_with_memory(const void* where, std::uint32_t claim, std::uint64_t object);
/// In a copy of the program, which has all the memory of its original: from now on it was handed all of that.
void owe_as_a_copy() noexcept;
/// True if a process that was handed that memory was killed, and has not paid.
bool debtor_was_killed(std::uint64_t memory, std::uint64_t latch) noexcept;

}  // namespace tandem::sync
